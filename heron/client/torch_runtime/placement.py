"""The parameters of a client's network sorted by the order in which they learn."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from torch import nn

from heron.client.runtime import Orders
from heron.errors import ConfigError
from heron.split import ClientPart, OrderBoundary, layer_groups, num_client_modules, place_boundary


@dataclass(frozen=True)
class Placement:
    """Names of parameters by the order in which they learn, in the network's order.

    Attributes:
        probed: those that learn from probes.
        exact: those that learn from exact gradients.
        boundary: the client's chain, taken apart where both orders meet in it; None where one order has all.
    """

    probed: tuple[str, ...]
    exact: tuple[str, ...]
    boundary: OrderBoundary | None = None


@dataclass(frozen=True)
class PlacedGroup:
    """A layer group as a client of its own.

    Attributes:
        part: its layers and its head.
        names: names of its parameters and buffers in the client's network, by its own.
        orders: which of its modules learn how.
    """

    part: ClientPart
    names: Mapping[str, str]
    orders: Orders


def place_groups(module: nn.ModuleDict, orders: Orders) -> list[PlacedGroup]:
    """Divide what a client holds into its layer groups, from the input up.

    Args:
        module: the parts `client`, `local_heads` and `auxiliary`.
        orders: which modules learn how; it has groups.

    Raises:
        SplitError: if the client has no such groups.
    """
    groups = layer_groups(module["client"], count=orders.groups or 0, above=orders.above)
    heads = [*module["local_heads"].children(), module["auxiliary"]]
    names = {id(tensor): name for name, tensor in [*module.named_parameters(), *module.named_buffers()]}
    placed = []
    for number, (layers, head) in enumerate(zip(groups, heads, strict=True), start=1):
        part, is_above = ClientPart(layers, head), number == len(groups) and orders.above > 1
        tensors = [*part.named_parameters(), *part.named_buffers()]
        whole = orders.exact == "all" or (is_above and orders.exact != 0)
        exact: int | Literal["all"] = "all" if whole else int(orders.exact != 0)
        own = replace(orders, exact=exact, groups=None, above=0)
        placed.append(PlacedGroup(part, {name: names[id(tensor)] for name, tensor in tensors}, own))
    return placed


def place_orders(module: nn.ModuleDict, orders: Orders) -> Placement:
    """Sort the trainable parameters of what a client holds.

    Args:
        module: the part `client` and, where the client has one, its head.
        orders: which modules learn how.

    Raises:
        ConfigError: if the order boundary is neither a number nor `all`.
        SplitError: if the client has no such boundary.
    """
    if orders.groups is not None:
        return _of_groups(place_groups(module, orders))
    named = dict(module.named_parameters())
    trainable = tuple(name for name, parameter in named.items() if parameter.requires_grad)
    if orders.exact == 0:
        return Placement(trainable if orders.probes else (), ())
    boundary = _boundary(module, orders)
    parts = [] if boundary is None else [boundary.below, boundary.head_below]
    below = {id(parameter) for part in parts for parameter in part.parameters()}
    above = tuple(name for name in trainable if id(named[name]) not in below)
    return Placement(
        tuple(name for name in trainable if orders.probes and id(named[name]) in below),
        tuple(name for name in above if orders.head or name.startswith("client.")),
        boundary,
    )


def _boundary(module: nn.ModuleDict, orders: Orders) -> OrderBoundary | None:
    """The client's chain taken apart; None where all of it is trained exactly."""
    exact = orders.exact
    rest = module["server"] if "server" in module else None  # noqa: SIM401 - it has no get
    if exact in {"all", num_client_modules(module["client"], rest)}:
        return None
    if not isinstance(exact, int):
        raise ConfigError(f"expected client.exact to be a number or 'all', found {exact!r}")
    if rest is not None:
        return place_boundary(module["client"], rest, exact, whole=True)
    return place_boundary(module["client"], module["auxiliary"], exact)


def _of_groups(groups: list[PlacedGroup]) -> Placement:
    """Join the placements of layer groups, from the input up."""
    probed: list[str] = []
    exact: list[str] = []
    for group in groups:
        placed = place_orders(nn.ModuleDict(dict(group.part.named_children())), group.orders)
        probed += [group.names[name] for name in placed.probed]
        exact += [group.names[name] for name in placed.exact]
    return Placement(tuple(probed), tuple(exact))
