"""A narrow cut for any image model: the client part ends in a small map of few channels, the server part widens it."""

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import nn

from heron.errors import SplitError
from heron.split.arguments import check_count
from heron.split.cut import build_auxiliary, ordered_children
from heron.split.model import SplitModel
from heron.split.untouched import attempt, untouched


def with_bottleneck(
    split: SplitModel,
    *,
    channels: int,
    stride: int = 1,
    auxiliary: nn.Module | Callable[[torch.Size], nn.Module] | None = None,
) -> SplitModel:
    """Put a bottleneck at the cut: `narrow` ends the client part, `widen` begins the server part.

    `narrow` averages windows of the map, then convolves (1x1) to a small number of channels; `widen` convolves back to
    the original number, and the server continues with the smaller map. New weights are drawn from torch's generator.
    The parts consist of the network's own modules. These keep their names if the part is an `nn.Sequential`; otherwise
    they are found below `body`.

    Args:
        split: the network, cut by `heron.split.cut` at a layer whose output is a map (B, channels, height, width).
        channels: number of channels of the new smashed data, at least 1.
        stride: side of the windows, at least 1.
        auxiliary: as in `heron.split.cut`, for the new shape; the old auxiliary network no longer fits.

    Returns:
        A cut network whose smashed data have shape (B, channels, height // stride, width // stride).

    Raises:
        SplitError: if the smashed data are not a map, an argument is out of range, or the server part does not run on
            the smaller map, for example because it flattens it.

    Examples:
        >>> from heron.split import cut, linear_head
        >>> layers = nn.Conv2d(3, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5)
        >>> wide = cut(nn.Sequential(*layers), after="1", example=torch.zeros(1, 3, 10, 10))
        >>> narrow = with_bottleneck(wide, channels=2, stride=4, auxiliary=lambda shape: linear_head(shape, 5))
        >>> wide.smashed_shape, narrow.smashed_shape
        (torch.Size([16, 8, 8]), torch.Size([2, 2, 2]))
    """
    check_count("channels", channels)
    check_count("stride", stride)
    shape = split.smashed_shape
    if shape is None or len(shape) != 3 or min(shape[1:]) < stride:
        raise SplitError(
            f"expected smashed data of a known shape (channels, height, width) with sides of at least stride = "
            f"{stride} for a bottleneck, found {None if shape is None else tuple(shape)}; cut with heron.split.cut "
            f"after a layer that puts out a map"
        )
    device = next((parameter.device for parameter in split.parameters()), torch.device("cpu"))
    layers: list[tuple[str, nn.Module]] = [("pool", nn.AvgPool2d(stride))] if stride > 1 else []
    narrow = nn.Conv2d(shape[0], channels, 1, device=device)
    widen = nn.Conv2d(channels, shape[0], 1, device=device)
    client_end = nn.Sequential(OrderedDict([*layers, ("conv", narrow)])) if layers else narrow
    client = nn.Sequential(OrderedDict([*_children(split.client), ("narrow", client_end)]))
    server = nn.Sequential(OrderedDict([("widen", widen), *_children(split.server)]))
    small = torch.Size((channels, shape[1] // stride, shape[2] // stride))
    with untouched(server, device):
        attempt("server part behind the bottleneck", server.eval(), torch.zeros(1, *small, device=device))
    narrowed = SplitModel(client, server, build_auxiliary(auxiliary, small), smashed_shape=small)
    client.training, server.training, narrowed.training = split.client.training, split.server.training, split.training
    return narrowed


def _children(part: nn.Module) -> list[tuple[str, nn.Module]]:
    """The layers of an `nn.Sequential` by name; any other module counts as one layer."""
    is_sequence = type(part).forward is nn.Sequential.forward
    return list(ordered_children(part).items()) if is_sequence else [("body", part)]
