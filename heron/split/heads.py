"""Auxiliary networks: small heads that turn smashed data into outputs on the client."""

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

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


def local_head(
    shape: Sequence[int],
    num_scores: int,
    pool: int = 4,
    *,
    channels_first: bool = False,
    dtype: torch.dtype = torch.float32,
) -> nn.Sequential:
    """One fully connected layer on averages: the head of a layer group.

    A map (channels, height, width) is averaged to sides of at most `pool`, a sequence (tokens, features) over its
    tokens; a vector is used as it is.

    Args:
        shape: shape of one example's outputs of the group.
        num_scores: outputs, at least 1.
        pool: side of the averaged map, at least 1.
        channels_first: whether a sequence is (channels, length).
        dtype: element type of the weights.

    Returns:
        A module that maps (B, *shape) to (B, num_scores).

    Raises:
        SplitError: if an argument is out of range.
    """
    _check_shape(shape)
    check_count("num_scores", num_scores)
    check_count("pool", pool)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    features = math.prod(shape)
    if len(shape) == 2:
        features = shape[0] if channels_first else shape[1]
        layers["pool"] = Mean(dim=2 if channels_first else 1)
    if len(shape) == 3:
        channels, *sides = shape
        small = [min(pool, side) for side in sides]
        features = channels * math.prod(small)
        if small != sides:
            layers["pool"] = _average(sides, small)
    if len(shape) > 2:
        layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(features, num_scores, dtype=dtype)
    return nn.Sequential(layers)


class Mean(nn.Module):
    """Mean over one dimension.

    Args:
        dim: the dimension, counted with the batch.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, inputs: Tensor) -> Tensor:
        """Average."""
        return inputs.mean(self.dim)


def _average(sides: Sequence[int], small: Sequence[int]) -> nn.Module:
    """Make the pooling from a map to a smaller one, of equal windows where the sides allow it."""
    (height, width), (rows, columns) = sides, small
    if height % rows == 0 and width % columns == 0:
        return nn.AvgPool2d((height // rows, width // columns))
    return nn.AdaptiveAvgPool2d((rows, columns))


def _check_shape(shape: Sequence[int]) -> None:
    if len(shape) == 0 or min(shape) < 1:
        raise SplitError(
            f"expected the shape of one example's smashed data without the batch dimension, e.g. (64, 32, 32), found "
            f"{tuple(shape)}"
        )
