"""Robust means of scalars, one coordinate after the other, as their definitions say (Yin et al., ICML 2018)."""

import math
from collections.abc import Sequence
from fractions import Fraction


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the two middle ones."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def trimmed_mean(values: Sequence[float], share: Fraction) -> float:
    """The mean without the share of smallest and of largest values, rounded up; the middle always stays."""
    left = sorted(values)
    for _ in range(math.ceil(share * len(values))):
        if len(left) > 2:
            left.remove(min(left))
            left.remove(max(left))
    return math.fsum(left) / len(left)


def scaled_down(change: Sequence[float], max_norm: float) -> list[float]:
    """The same direction, no longer than that."""
    norm = math.sqrt(math.fsum(value * value for value in change))
    return [value * min(1.0, max_norm / norm) if norm else value for value in change]
