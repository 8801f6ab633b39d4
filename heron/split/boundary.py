"""The order boundary: which of a client's layers are trained exactly, and which by probes.

What a client holds is a chain of layers, the auxiliary network last:

    x -> below -> above -> z -> head_below -> head_above -> outputs

`above` and `head_above` are trained exactly, `below` by zeroth order; either `above` or `head_below` is empty. Counted
are modules with something to train, from the end: the auxiliary network is one, every such client layer one more.
Layers without parameters go with the layers under them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from heron.errors import SplitError
from heron.split.cut import ordered_children
from heron.split.sharing import check_disjoint


@dataclass(frozen=True)
class OrderBoundary:
    """A client's chain taken apart at its boundary; the parts hold the client's own layers.

    Attributes:
        below: client layers under the boundary.
        above: client layers over it.
        head_below: first layers of the auxiliary network, without parameters, where the boundary lies in it.
        head_above: the rest of the auxiliary network.
    """

    below: nn.Sequential
    above: nn.Sequential
    head_below: nn.Sequential
    head_above: nn.Sequential


def num_client_modules(client: nn.Module) -> int:
    """How many modules of a client can be trained exactly: its layers with something to train, and the head.

    Args:
        client: f_c; an `nn.Sequential` is looked into, anything else is one layer.
    """
    return len(_starts(layers_of(client))) + 1


def place_boundary(client: nn.Module, head: nn.Module, num_exact: int) -> OrderBoundary:
    """Take a client apart.

    Args:
        client: f_c.
        head: the auxiliary network f_a.
        num_exact: modules trained exactly, counted from the end, in [1, `num_client_modules(client)`).

    Raises:
        SplitError: if the number is out of range, nothing would be trained exactly, or a layer is both below and above
            the boundary.
    """
    layers, head_layers = layers_of(client), layers_of(head)
    starts = _starts(layers)
    if not 1 <= num_exact <= len(starts):
        raise SplitError(
            f"expected client.exact from 0 to {len(starts) + 1}, the {len(starts)} client layers with parameters and "
            f"the auxiliary network, or all; found {num_exact}"
        )
    if num_exact == 1 and not _starts(head_layers):
        raise SplitError(
            "expected something to train in the auxiliary network where client.exact is 1, found nothing; raise "
            "client.exact or unfreeze it"
        )
    cut = len(layers) if num_exact == 1 else starts[1 - num_exact]
    head_cut = _starts(head_layers)[0] if num_exact == 1 else 0
    parts = (layers[:cut], layers[cut:], head_layers[:head_cut], head_layers[head_cut:])
    boundary = OrderBoundary(*(nn.Sequential(*part) for part in parts))
    check_disjoint("client layers below the boundary", boundary.below, "those above it", boundary.above)
    check_disjoint("client layers below the boundary", boundary.below, "the auxiliary network", boundary.head_above)
    return boundary


def layers_of(module: nn.Module) -> list[nn.Module]:
    """The layers that run one after the other: those of an `nn.Sequential`, nested ones taken apart."""
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
