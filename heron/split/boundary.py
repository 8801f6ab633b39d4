"""The order boundary between the client's layers that are trained exactly and those that are trained by probes.

A client's network is a chain of layers that ends in the auxiliary network:

    x -> below -> above -> z -> head_below -> head_above -> outputs

`above` and `head_above` are trained exactly, `below` by zeroth order; either `above` or `head_below` is empty. The
boundary's position is the number of trainable modules above it, counted from the end: the auxiliary network is one, and
every client layer with something to train is one more. Layers without parameters belong to the layer below them. Where
the client holds the rest of the network in place of an auxiliary network, each of its layers counts like the client's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from heron.errors import SplitError
from heron.split.cut import ordered_children
from heron.split.sharing import check_disjoint


@dataclass(frozen=True)
class OrderBoundary:
    """A client's chain divided at its boundary; the parts contain the client's own layers.

    Attributes:
        below: client layers below the boundary.
        above: client layers above it.
        head_below: first layers of the head if the boundary is inside it; of an auxiliary network, those without
            parameters.
        head_above: the rest of the head.
    """

    below: nn.Sequential
    above: nn.Sequential
    head_below: nn.Sequential
    head_above: nn.Sequential


def num_client_modules(client: nn.Module, rest: nn.Module | None = None) -> int:
    """Number of a client's modules that can be trained exactly: its layers with something to train, and the head.

    Args:
        client: f_c; an `nn.Sequential` counts by its layers, any other module as one layer.
        rest: f_s, where it is the head: it counts by its layers, too.
    """
    return len(_starts(layers_of(client))) + (1 if rest is None else len(_starts(layers_of(rest))))


def place_boundary(client: nn.Module, head: nn.Module, num_exact: int, *, whole: bool = False) -> OrderBoundary:
    """Divide a client's chain at the order boundary.

    Args:
        client: f_c.
        head: the auxiliary network f_a, or the rest of the network f_s.
        num_exact: number of modules trained exactly, counted from the end, in [1, `num_client_modules(client)`).
        whole: whether the head is the rest of the network, which counts by its layers.

    Returns:
        The two parts of the chain.

    Raises:
        SplitError: if the number is out of range, nothing would be trained exactly, or a layer is both below and above
            the boundary.
    """
    layers, head_layers = layers_of(client), layers_of(head)
    starts, head_starts = _starts(layers), _starts(head_layers)
    num_head = len(head_starts) if whole else 1
    if not 1 <= num_exact < len(starts) + num_head:
        rest = f"{num_head} further layers" if whole else "the auxiliary network"
        raise SplitError(
            f"expected client.exact from 0 to {len(starts) + num_head}, the {len(starts)} client layers with "
            f"parameters and {rest}, or all; found {num_exact}"
        )
    if not whole and num_exact == 1 and not head_starts:
        raise SplitError(
            "expected something to train in the auxiliary network with client.exact=1, found nothing; raise "
            "client.exact or unfreeze it"
        )
    is_inside_head = num_exact <= num_head
    cut = len(layers) if is_inside_head else starts[num_head - num_exact]
    head_cut = head_starts[-num_exact if whole else 0] if is_inside_head else 0
    parts = (layers[:cut], layers[cut:], head_layers[:head_cut], head_layers[head_cut:])
    boundary = OrderBoundary(*(nn.Sequential(*part) for part in parts))
    check_disjoint("client layers below the boundary", boundary.below, "those above it", boundary.above)
    name = "layers behind the cut" if whole else "the auxiliary network"
    check_disjoint("client layers below the boundary", boundary.below, name, boundary.head_above)
    check_disjoint("layers below the boundary", boundary.head_below, "those above it", boundary.head_above)
    return boundary


def layers_of(module: nn.Module) -> list[nn.Module]:
    """The layers that run in sequence: those of an `nn.Sequential`, including nested ones."""
    if type(module).forward is not nn.Sequential.forward:
        return [module]
    return [layer for child in ordered_children(module).values() for layer in layers_of(child)]


def _starts(layers: Sequence[nn.Module]) -> list[int]:
    """Positions of the layers that have something to train."""
    return [
        position
        for position, layer in enumerate(layers)
        if any(parameter.requires_grad for parameter in layer.parameters())
    ]
