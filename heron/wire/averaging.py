"""The mean of models that arrive one after the other."""

from collections.abc import Mapping

import torch
from torch import Tensor


class RunningMean:
    """Weighted mean of named tensors, summed as they arrive: no list of models is ever held.

    Integer tensors (BatchNorm's `num_batches_tracked`) have no mean; the largest is kept.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._weight = 0.0

    @torch.no_grad()
    def add(self, tensors: Mapping[str, Tensor], weight: float) -> None:
        """Add one model.

        Args:
            tensors: by name; every call with the same names and shapes.
            weight: its weight, > 0.
        """
        for name, tensor in tensors.items():
            is_float = tensor.dtype.is_floating_point
            if name not in self._sums:
                self._sums[name] = tensor * weight if is_float else tensor.clone()
            elif is_float:
                self._sums[name] += tensor * weight
            else:
                torch.maximum(self._sums[name], tensor, out=self._sums[name])
        self._weight += weight

    @torch.no_grad()
    def take(self) -> dict[str, Tensor]:
        """The mean of what was added since the last call; empty if nothing was."""
        mean = {
            name: total / self._weight if total.dtype.is_floating_point else total for name, total in self._sums.items()
        }
        self._sums, self._weight = {}, 0.0
        return mean
