"""Cut a network after one of its layers.

An `nn.Sequential` is cut between children, at any depth of nesting. Any other module is traced with `torch.fx` and its
graph divided: what the cut layer depends on is the client's, the rest is the server's.
"""

import difflib
from collections.abc import Callable

import torch
from torch import Tensor, fx, nn

from heron.errors import SplitError
from heron.split.model import SplitModel
from heron.zo import preserved_buffers

AuxiliaryFactory = Callable[[torch.Size], nn.Module]
"""Builds an auxiliary network from the shape of ONE example's smashed data."""

_CLIENT, _SERVER = 0, 1


def cut(
    model: nn.Module, after: str, *, example: Tensor, auxiliary: nn.Module | AuxiliaryFactory | None = None
) -> SplitModel:
    """Cut a network after a named layer.

    The parts own the very parameters of `model`, which should not be used any more.

    Args:
        model: the network.
        after: name of the last layer of the client, as in `model.named_modules()`.
        example: a batch of inputs that the network accepts, shape (B, ...).
        auxiliary: the auxiliary network, or a function that builds it from the shape of one example's smashed data, e.g.
            `lambda shape: linear_head(shape, num_classes=10)`.

    Returns:
        The cut network; cut and joined again it computes what `model` computed.

    Raises:
        SplitError: if there is no such layer, the cut is crossed by more than one tensor, the parts share
            parameters, the server would have nothing to train, or the network cannot be traced or run.

    Examples:
        >>> network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> split = cut(network, after="1", example=torch.zeros(1, 4))
        >>> split.client(torch.zeros(5, 4)).shape
        torch.Size([5, 8])
    """
    _check_name(model, after)
    client, server = _cut_sequential(model, after) or _cut_graph(model, after)
    _check_parts(client, server, after)
    smashed = _smash(client, example)
    if auxiliary is not None and not isinstance(auxiliary, nn.Module):
        auxiliary = auxiliary(smashed.shape[1:])
    return SplitModel(client, server, auxiliary)


def _check_name(model: nn.Module, after: str) -> None:
    names = [name for name, _ in model.named_modules() if name]
    if after not in names:
        near = difflib.get_close_matches(after, names, n=3, cutoff=0.4) or names[:8]
        raise SplitError(f"no layer {after!r} to cut after; near: {', '.join(near)}")


def _cut_sequential(model: nn.Module, after: str) -> tuple[nn.Module, nn.Module] | None:
    """Cut between the children of a Sequential, at any depth; None where the layer lies elsewhere."""
    if type(model) is not nn.Sequential:
        return None
    name, _, rest = after.partition(".")
    client, server = nn.Sequential(), nn.Sequential()
    target = client
    for child_name, child in model.named_children():
        if child_name != name:
            target.add_module(child_name, child)
            continue
        if rest:
            parts = _cut_sequential(child, rest)
            if parts is None:
                return None
            client.add_module(child_name, parts[_CLIENT])
            if len(list(parts[_SERVER].children())) > 0:
                server.add_module(child_name, parts[_SERVER])
        else:
            client.add_module(child_name, child)
        target = server
    return client, server


def _cut_graph(model: nn.Module, after: str) -> tuple[nn.Module, nn.Module]:
    graph_module = _trace(model)
    calls = [node for node in graph_module.graph.nodes if node.op == "call_module" and node.target == after]
    if len(calls) != 1:
        reason = "is called more than once" if calls else "is not called as a layer of its own"
        raise SplitError(f"cannot cut after {after!r}: it {reason}; cut elsewhere or write a SplitModel by hand")
    client_nodes = _ancestors(calls[0])
    crossing = [
        node.name
        for node in graph_module.graph.nodes
        if node in client_nodes and node is not calls[0] and any(user not in client_nodes for user in node.users)
    ]
    if crossing:
        raise SplitError(
            f"cut after {after!r} is crossed by {', '.join(crossing)} as well (a skip connection?); smashed data is one "
            f"tensor, cut before or after the block"
        )
    rest = [node for node in graph_module.graph.nodes if node not in client_nodes]
    client = _graph_part(graph_module, [node for node in graph_module.graph.nodes if node in client_nodes], calls[0])
    return client, _graph_part(graph_module, rest, None, given=calls[0])


def _graph_part(
    traced: fx.GraphModule, nodes: list[fx.Node], result: fx.Node | None, given: fx.Node | None = None
) -> fx.GraphModule:
    """A module of some nodes of a graph, layers under their own names; `given` becomes its input."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {} if given is None else {given: graph.placeholder("smashed")}
    for node in nodes:
        copies[node] = graph.node_copy(node, lambda original: copies[original])
    if result is not None:
        graph.output(copies[result])
    return fx.GraphModule(traced, graph)


def _trace(model: nn.Module) -> fx.GraphModule:
    try:
        return fx.symbolic_trace(model)
    except (fx.proxy.TraceError, TypeError, ValueError, AttributeError, RuntimeError, NotImplementedError) as error:
        raise SplitError(
            f"cannot trace {type(model).__name__}: {error}; write client and server as two modules and join them in a "
            f"SplitModel"
        ) from error


def _ancestors(node: fx.Node) -> set[fx.Node]:
    found: set[fx.Node] = set()
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.add(current)
            waiting.extend(current.all_input_nodes)
    return found


def _check_parts(client: nn.Module, server: nn.Module, after: str) -> None:
    if not any(parameter.requires_grad for parameter in server.parameters()):
        raise SplitError(f"cut after {after!r} leaves nothing to train on the server; cut earlier")
    theirs = {id(tensor) for tensor in [*server.parameters(), *server.buffers()]}
    mine = [*client.named_parameters(), *client.named_buffers()]
    shared = [name for name, tensor in mine if id(tensor) in theirs]
    if shared:
        raise SplitError(
            f"cut after {after!r}: {shared[0]!r} is shared by client and server, which train apart; untie it"
        )


def _smash(client: nn.Module, example: Tensor) -> Tensor:
    was_training = client.training
    try:
        with torch.no_grad(), preserved_buffers(client):
            smashed = client.eval()(example)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise SplitError(f"the client part does not run on inputs of shape {tuple(example.shape)}: {error}") from error
    finally:
        client.train(was_training)
    if not isinstance(smashed, Tensor) or smashed.dim() < 1 or len(smashed) != len(example):
        found = tuple(smashed.shape) if isinstance(smashed, Tensor) else type(smashed).__name__
        raise SplitError(
            f"expected smashed data as one tensor with the batch of {len(example)} first, found {found}; cut elsewhere"
        )
    return smashed
