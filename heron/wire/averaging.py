"""The mean of models that arrive one after the other."""

from collections.abc import Mapping
from typing import Any

from heron.arrays import Array, is_floating, is_tensor, namespace


class RunningMean:
    """Weighted mean of named arrays, summed as they arrive: no list of models is ever held.

    Each array is averaged over the models that have it. Arrays may be of either kind; the mean is of the same. Integers
    (BatchNorm's `num_batches_tracked`) have no mean; the largest is kept.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Any] = {}
        self._weights: dict[str, float] = {}

    def add(self, arrays: Mapping[str, Array], weight: float) -> None:
        """Add one model.

        Args:
            arrays: by name; a name has one kind and one shape.
            weight: its weight, > 0.
        """
        for name, array in arrays.items():
            self._weights[name] = self._weights.get(name, 0.0) + weight
            values: Any = array.detach() if is_tensor(array) else array
            xp = namespace(values)
            if name not in self._sums:
                self._sums[name] = values * weight if is_floating(values) else xp.asarray(values, copy=True)
            elif is_floating(values):
                self._sums[name] += values * weight
            else:
                self._sums[name] = xp.maximum(self._sums[name], values)

    def take(self) -> dict[str, Any]:
        """The mean of what was added since the last call; empty if nothing was."""
        # NumPy turns an array of shape () into a scalar of its own in every operation.
        mean = {
            name: namespace(total).asarray(total / self._weights[name] if is_floating(total) else total)
            for name, total in self._sums.items()
        }
        self._sums, self._weights = {}, {}
        return mean
