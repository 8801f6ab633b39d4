"""A client's examples, and the state of a round that continues in another process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from heron.arrays import Array
from heron.client.step import StepResult
from heron.data import Batch
from heron.wire.messages import Answer


class ClientData(Protocol):
    """A client's private examples."""

    def __len__(self) -> int:
        """Return the number of examples, n."""
        ...

    def batch(self, positions: NDArray[np.int64], seed: int) -> Batch:
        """Return the examples at some of the positions 0 to n - 1, in their order.

        Args:
            positions: shape (B,); B may be 0, of which nobody reads more than the length.
            seed: seed of what is drawn to make them, e.g. to augment.
        """
        ...


@dataclass(frozen=True)
class Progress:
    """State of a client's coupled round between two messages, without its model and optimiser state.

    With these a process that keeps nothing alive goes on with a round: it makes the step at hand again from its
    beginning, which is deterministic.

    Attributes:
        results: outcomes of the local steps that are over.
        answers: what the Main Server has answered within the step at hand, in order.
        start: tensors as they were received at the beginning of the round, of those whose changes go up; empty where
            none do.
    """

    results: Sequence[StepResult] = ()
    answers: Sequence[Answer] = ()
    start: Mapping[str, Array] = field(default_factory=dict)


BEGINNING = Progress()
