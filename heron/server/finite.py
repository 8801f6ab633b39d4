"""Limits of the values that a federation can continue with."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from heron.errors import TrainingError

LARGEST = 1e15
"""Largest value of a parameter: its square, and its sum over any number of clients, are finite in float32."""
LARGEST_FP16 = torch.finfo(torch.float16).max
"""Largest value of a parameter that a codec sends down again as float16."""


def is_within(tensor: Tensor, largest: float) -> bool:
    """Return whether no value is NaN or larger than that; counters may have any value."""
    return not tensor.dtype.is_floating_point or _size(tensor) <= largest


def is_finite(tensor: Tensor) -> bool:
    """Return whether no value is NaN or infinite."""
    return math.isfinite(_size(tensor)) if tensor.dtype.is_floating_point else bool(torch.isfinite(tensor).all())


def _size(tensor: Tensor) -> float:
    """Return the largest absolute value, NaN if one is NaN; one number instead of one for each value."""
    return tensor.abs().max().item() if tensor.numel() else 0.0


def require_finite(tensors: Mapping[str, Tensor]) -> None:
    """Refuse a global model that training could not continue from.

    Raises:
        TrainingError: if a value is NaN or infinite.
    """
    for name, tensor in tensors.items():
        if not is_finite(tensor):
            raise TrainingError(
                f"expected a finite global model, found NaN or infinity in {name!r} after the round; lower "
                f"client.learning_rate, or bound clients with fed_server.max_norm or max_scalar"
            )
