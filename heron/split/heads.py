"""Auxiliary networks: small heads that give a client a loss of its own."""

import math
from collections.abc import Sequence

from torch import nn

from heron.errors import SplitError


def linear_head(shape: Sequence[int], num_classes: int) -> nn.Module:
    """Flatten, then one fully connected layer.

    Args:
        shape: one example's smashed data, without the batch.
        num_classes: C, >= 1.
    """
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), num_classes))


def pooled_linear_head(shape: Sequence[int], num_classes: int, pool: int = 2) -> nn.Module:
    """Average over `pool` x `pool` pixels, flatten, one fully connected layer: the paper's head for ResNet-18.

    Args:
        shape: one example's smashed data, (channels, height, width).
        num_classes: C, >= 1.
        pool: side of the pooled squares, at most height and width.

    Raises:
        SplitError: if the shape is not a map that can be pooled.
    """
    if len(shape) != 3 or min(shape[1:]) < pool:
        raise SplitError(
            f"expected smashed data (channels, height, width) of at least {pool}x{pool}, found {tuple(shape)}"
        )
    channels, height, width = shape
    features = channels * (height // pool) * (width // pool)
    return nn.Sequential(nn.AvgPool2d(pool), nn.Flatten(), nn.Linear(features, num_classes))
