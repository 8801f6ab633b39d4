"""Values that a federation can go on with."""

from collections.abc import Mapping

import torch
from torch import Tensor

from heron.errors import TrainingError

LARGEST = 1e15
"""What no parameter is: its square, and its sum over any number of clients, are finite in float32."""
LARGEST_FP16 = torch.finfo(torch.float16).max
"""The same where a codec sends it down again as float16."""


def is_within(tensor: Tensor, largest: float) -> bool:
    """Whether no value is NaN or beyond that; counters may have any."""
    return not tensor.dtype.is_floating_point or bool((tensor.abs() <= largest).all())


def require_finite(tensors: Mapping[str, Tensor]) -> None:
    """Refuse a global model that training could not continue from.

    Raises:
        TrainingError: if a value is NaN or infinite.
    """
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise TrainingError(
                f"expected a finite global model, found NaN or infinity in {name!r} after the round; lower "
                f"client.learning_rate, or bound clients with fed_server.max_norm or max_scalar"
            )
