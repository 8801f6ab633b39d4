"""Real numbers as integers modulo 2^64, whose sums are exact and can be masked perfectly."""

import numpy as np
from numpy.typing import NDArray

from heron.errors import TrainingError

FRACTION_BITS = 32
"""A value is a multiple of 2^-32."""
_WHOLE_BITS = 30  # of a sum: 62 bits in all, so that it keeps its sign in 64


def largest_value(num_members: int) -> float:
    """Return the largest absolute value of which that many can be added up.

    Args:
        num_members: number of clients of a sum, >= 1.
    """
    return 2.0**_WHOLE_BITS / num_members


def to_fixed(values_D: NDArray[np.floating], num_members: int) -> NDArray[np.int64]:
    """Round values to the nearest multiples of 2^-32, ties to even.

    Args:
        values_D: shape (D,).
        num_members: number of clients of the sum.

    Raises:
        TrainingError: if one is not finite, or so large that a sum could overflow.
    """
    wide, largest = np.asarray(values_D, np.float64), largest_value(num_members)
    within = np.abs(wide) <= largest  # False for NaN
    if not within.all():
        raise TrainingError(
            f"expected values of at most {largest:.6g} to be added up under masks, found {wide[~within][0]:g}; lower "
            f"client.learning_rate or estimator.probes, raise estimator.mu, or set secure_sum=false"
        )
    return np.rint(wide * 2.0**FRACTION_BITS).astype(np.int64)


def from_fixed(total_D: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the values of a sum."""
    return total_D.astype(np.float64) * 2.0**-FRACTION_BITS
