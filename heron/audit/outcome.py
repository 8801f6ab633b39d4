"""Outcome of an attack: figures, and where inputs are images what they were rebuilt as."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Outcome:
    """Outcome of one attack on one run.

    Attributes:
        figures: numbers by name; none where the attack does not apply.
        pictures: first of the victims' images and their reconstruction, both float32 in [0, 1], shape (n, C, H, W).
        notes: sentences for a person.
    """

    figures: Mapping[str, float] = field(default_factory=dict)
    pictures: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
    notes: tuple[str, ...] = ()
