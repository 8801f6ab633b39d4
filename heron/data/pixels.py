"""Pixels as whole numbers, and what training makes of them."""

import math
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt, Lt
from numpy.typing import NDArray

from heron.ranges import PositiveFloat, PositiveInt

FiniteFloat = Annotated[float, Gt(-math.inf), Lt(math.inf)]


@dataclass(frozen=True)
class Pixels:
    """Scaling of pixels, (x / largest - mean) / deviation for each channel, in float32.

    Attributes:
        largest: the value that becomes 1 before mean and deviation.
        means: one for each channel, or one for all.
        deviations: the same.
    """

    largest: PositiveInt
    means: tuple[FiniteFloat, ...] = (0.0,)
    deviations: tuple[PositiveFloat, ...] = (1.0,)

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Return whether inputs of a shape, channels first, have as many channels."""
        channels = shape[0] if shape else 0
        return {len(self.means), len(self.deviations)} <= {1, channels}

    def scaled(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Scale a batch.

        Args:
            pixels: shape (B, C, ...).

        Returns:
            float32, the same shape.

        Examples:
            >>> Pixels(255, means=(0.5,), deviations=(0.25,)).scaled(np.array([[[0, 255]]], np.uint8))
            array([[[-2.,  2.]]], dtype=float32)
        """
        shape = (-1, *[1] * (pixels.ndim - 2))
        scaled = pixels.astype(np.float32)
        scaled /= np.float32(self.largest)
        scaled -= np.array(self.means, np.float32).reshape(shape)
        scaled /= np.array(self.deviations, np.float32).reshape(shape)
        return scaled
