"""The parameters of a client's network sorted by the order in which they learn."""

from dataclasses import dataclass

from torch import nn

from heron.client.runtime import Orders
from heron.errors import ConfigError
from heron.split import OrderBoundary, num_client_modules, place_boundary


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


def place_orders(module: nn.ModuleDict, orders: Orders) -> Placement:
    """Sort the trainable parameters of what a client holds.

    Args:
        module: the part `client` and, where the client has one, its head.
        orders: which modules learn how.

    Raises:
        ConfigError: if the order boundary is neither a number nor `all`.
        SplitError: if the client has no such boundary.
    """
    named = dict(module.named_parameters())
    trainable = tuple(name for name, parameter in named.items() if parameter.requires_grad)
    if orders.exact == 0:
        return Placement(trainable if orders.probes else (), ())
    boundary = _boundary(module, orders)
    below = set() if boundary is None else {id(parameter) for parameter in boundary.below.parameters()}
    above = tuple(name for name in trainable if id(named[name]) not in below)
    return Placement(
        tuple(name for name in trainable if orders.probes and id(named[name]) in below),
        tuple(name for name in above if orders.head or name.startswith("client.")),
        boundary,
    )


def _boundary(module: nn.ModuleDict, orders: Orders) -> OrderBoundary | None:
    """The client's chain taken apart; None where all of it is trained exactly."""
    exact = orders.exact
    if exact in {"all", num_client_modules(module["client"])}:
        return None
    if not isinstance(exact, int):
        raise ConfigError(f"expected client.exact to be a number or 'all', found {exact!r}")
    return place_boundary(module["client"], module["auxiliary"], exact)
