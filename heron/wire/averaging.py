"""The mean of models that arrive one after the other."""

from collections.abc import Mapping
from typing import Any

from heron.arrays import Array, is_floating, is_tensor, namespace


class RunningMean:
    """Weighted mean of named arrays, summed as they arrive: no list of models is ever held.

    Arrays may be of either kind; the mean is of the same. Integers (BatchNorm's `num_batches_tracked`) have no mean;
    the largest is kept.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Any] = {}
        self._weight = 0.0

    def add(self, arrays: Mapping[str, Array], weight: float) -> None:
        """Add one model.

        Args:
            arrays: by name; every call with the same names, kinds and shapes.
            weight: its weight, > 0.
        """
        for name, array in arrays.items():
            values: Any = array.detach() if is_tensor(array) else array
            xp = namespace(values)
            if name not in self._sums:
                self._sums[name] = values * weight if is_floating(values) else xp.asarray(values, copy=True)
            elif is_floating(values):
                self._sums[name] += values * weight
            else:
                self._sums[name] = xp.maximum(self._sums[name], values)
        self._weight += weight

    def take(self) -> dict[str, Any]:
        """The mean of what was added since the last call; empty if nothing was."""
        # NumPy turns an array of shape () into a scalar of its own in every operation.
        mean = {
            name: namespace(total).asarray(total / self._weight if is_floating(total) else total)
            for name, total in self._sums.items()
        }
        self._sums, self._weight = {}, 0.0
        return mean
