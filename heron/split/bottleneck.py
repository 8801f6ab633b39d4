"""A narrow cut for any image model: the client part ends in few channels of a small map, the server part undoes it."""

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

    `narrow` averages windows of the map, then convolves (1x1) to so many channels; `widen` convolves back to the
    channels that there were, and the server goes on with the smaller map. New weights are drawn from torch's generator.
    The parts are made of the network's own modules, which keep their names where a part is an `nn.Sequential` and are
    below `body` where not.

    Args:
        split: the network, cut by `heron.split.cut` where the smashed data are a map (B, channels, height, width).
        channels: of the smashed data, at least 1.
        stride: side of the windows, at least 1.
        auxiliary: as in `heron.split.cut`, for the new shape; the old auxiliary network does not fit any longer.

    Returns:
        A cut network whose smashed data have shape (B, channels, height // stride, width // stride).

    Raises:
        SplitError: if the smashed data are no map, an argument is out of range, or the server part does not run on the
            smaller map, such as one that flattens it.

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
    """The layers of a sequence by name; any other module as one layer."""
    is_sequence = type(part).forward is nn.Sequential.forward
    return list(ordered_children(part).items()) if is_sequence else [("body", part)]
