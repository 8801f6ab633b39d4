"""Auxiliary networks: small heads that turn smashed data into outputs on the client."""

import math
from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from heron.errors import SplitError
from heron.split.arguments import check_count


def linear_head(shape: Sequence[int], num_classes: int) -> nn.Sequential:
    """One fully connected layer on the flattened smashed data.

    Args:
        shape: shape of one example's smashed data, at least one dimension.
        num_classes: C, at least 1.

    Returns:
        A module that maps (B, *shape) to (B, C); it has `C * (prod(shape) + 1)` parameters.

    Raises:
        SplitError: if an argument is out of range.

    Examples:
        >>> sum(p.numel() for p in linear_head((4, 2, 2), 10).parameters())
        170
    """
    _check_shape(shape)
    check_count("num_classes", num_classes)
    return nn.Sequential(OrderedDict(flatten=nn.Flatten(), fc=nn.Linear(math.prod(shape), num_classes)))


def pooled_linear_head(shape: Sequence[int], num_classes: int, pool: int = 2) -> nn.Sequential:
    """Average pooling, then one fully connected layer: the auxiliary network of the paper's ResNet-18.

    Args:
        shape: shape of one example's smashed data, (channels, height, width).
        num_classes: C, at least 1.
        pool: side of the pooling window, at least 1; rows and columns that do not fill a window are ignored.

    Returns:
        A module that maps (B, channels, height, width) to (B, C); it has
        `C * (channels * (height // pool) * (width // pool) + 1)` parameters.

    Raises:
        SplitError: if an argument is out of range, or the map is smaller than the window.
    """
    _check_shape(shape)
    check_count("num_classes", num_classes)
    check_count("pool", pool)
    if len(shape) != 3 or min(shape[1:]) < pool:
        raise SplitError(
            f"expected smashed data of shape (channels, height, width) with sides of at least pool = {pool}, found "
            f"{tuple(shape)}; use linear_head or a smaller pool"
        )
    channels, height, width = shape
    features = channels * (height // pool) * (width // pool)
    return nn.Sequential(
        OrderedDict(pool=nn.AvgPool2d(pool), flatten=nn.Flatten(), fc=nn.Linear(features, num_classes))
    )


def _check_shape(shape: Sequence[int]) -> None:
    if len(shape) == 0 or min(shape) < 1:
        raise SplitError(
            f"expected the shape of one example's smashed data without the batch dimension, e.g. (64, 32, 32), found "
            f"{tuple(shape)}"
        )
