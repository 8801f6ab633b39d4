"""Cut of a module with forward code of its own, by its traced graph.

torch.fx traces only the code of the modules around the layer; every other submodule stays whole. The graph is cut in
execution order after the layer's only call, and the two halves keep the module's own parameters under their own names.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from heron.errors import SplitError
from heron.split.untouched import one_line, untouched

_ROOT = "network"


def cut_graph(model: nn.Module, after: str) -> tuple[nn.Module, nn.Module]:
    """Cut a module after the only call of a layer.

    Args:
        model: module that maps one tensor to one tensor; further arguments of its forward keep their defaults.
        after: name of the layer.

    Returns:
        Client and server part, as graph modules that hold the module's own layers.

    Raises:
        SplitError: if the code around the layer cannot be traced, the layer is not called exactly once, or tensors
            other than its output cross the cut.
    """
    root, graph = _trace(model, after)
    nodes = list(graph.nodes)
    position = _position_of_call(root, nodes, after)
    crossing = _crossing(nodes, position)
    if crossing:
        raise SplitError(
            f"a cut after {after!r} is crossed by more than one tensor: its output and "
            f"{', '.join(map(_describe, crossing))}; {_advice(root, nodes, position)}"
        )
    layer = nodes[position]
    if not layer.users:
        raise SplitError(f"expected the network to use the output of {after!r}, found that it does not; cut elsewhere")
    client = fx.Graph()
    values = _copy_nodes(nodes[: position + 1], client, {})
    client.output(values[layer])
    server = fx.Graph()
    smashed = server.placeholder("smashed")
    # Parameters read before the cut but used after it are read again.
    constants = [node for node in nodes[:position] if node.op == "get_attr"]
    _copy_nodes([*constants, *nodes[position + 1 :]], server, {layer: smashed})
    return _graph_module(root, client, "Client"), _graph_module(root, server, "Server")


class _Rooted(nn.Module):
    """Wrapper with one input and one module; it keeps constants found by tracing out of the user's module."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Any:
        return self.network(inputs)


class _Tracer(fx.Tracer):
    """Tracer for the code of the root and of the modules around one layer only."""

    def __init__(self, around: Sequence[nn.Module]) -> None:
        super().__init__()
        self._around = around

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002 - fixed by torch
        return not any(m is module for module in self._around)


def _trace(model: nn.Module, after: str) -> tuple[_Rooted, fx.Graph]:
    names = after.split(".")
    around = [model.get_submodule(".".join(names[:depth])) for depth in range(len(names))]
    traced = []
    # Seed 0 here, seed 1 in the equivalence check: numbers drawn while tracing become constants, and the check fails.
    with untouched(model, torch.device("cpu")):
        for training in (False, True):
            for module in around:
                module.training = training
            try:
                root = _Rooted(model)
                traced.append((root, _Tracer(around).trace(root)))
            except Exception as error:
                raise SplitError(
                    f"the forward code around {after!r} cannot be traced ({one_line(error)}); write the network as a "
                    f"client and a server module and use SplitModel(client, server, auxiliary)"
                ) from error
    if len({str(graph) for _, graph in traced}) > 1:
        raise SplitError(
            f"the forward code around {after!r} depends on self.training, which a cut would fix; use modules such as "
            f"nn.Dropout there, or write a client and a server module and use SplitModel(client, server, auxiliary)"
        )
    return traced[0]


def _position_of_call(root: _Rooted, nodes: Sequence[fx.Node], after: str) -> int:
    layer = root.network.get_submodule(after)
    calls = [
        position
        for position, node in enumerate(nodes)
        if node.op == "call_module" and root.get_submodule(str(node.target)) is layer
    ]
    if len(calls) == 1:
        return calls[0]
    if calls:
        raise SplitError(
            f"expected {after!r} to be called once, found {len(calls)} calls: the cut is ambiguous; give each "
            f"call a layer of its own (e.g. an nn.Identity after it) and name that"
        )
    called = [name for node in nodes if (name := _layer_name(node)) is not None]
    raise SplitError(
        f"expected forward to call {after!r}, found that it does not; name a layer that it calls: "
        f"{', '.join(called[:6])}"
    )


def _crossing(nodes: Sequence[fx.Node], position: int) -> list[fx.Node]:
    """Values, other than the layer's output, that are computed before the cut and used after it."""
    later = set(nodes[position + 1 :])
    return [node for node in nodes[:position] if node.op != "get_attr" and not later.isdisjoint(node.users)]


def _advice(root: _Rooted, nodes: Sequence[fx.Node], position: int) -> str:
    """Advice for a cut: only one tensor crosses after a layer where skip connections have ended."""
    for later in range(position + 1, len(nodes)):
        name = _layer_name(nodes[later])
        if name is None or _crossing(nodes, later):
            continue
        rest = [root.get_submodule(str(node.target)) for node in nodes[later + 1 :] if node.op == "call_module"]
        if any(parameter.requires_grad for module in rest for parameter in module.parameters()):
            return f"cut after the paths have joined, e.g. after {name!r}"
    return "cut after the paths have joined, or write both sides as modules and use SplitModel"


def _layer_name(node: fx.Node) -> str | None:
    return str(node.target).removeprefix(f"{_ROOT}.") if node.op == "call_module" else None


def _describe(node: fx.Node) -> str:
    if node.op == "placeholder":
        return "the network's input"
    name = _layer_name(node)
    return f"the output of {name!r}" if name is not None else f"{node.name!r} ({node.format_node()})"


def _copy_nodes(nodes: Sequence[fx.Node], graph: fx.Graph, values: dict[fx.Node, fx.Node]) -> dict[fx.Node, fx.Node]:
    """Append nodes to a graph; `values` maps nodes outside the copied ones to their replacements."""
    for node in nodes:
        copied = graph.node_copy(node, values.__getitem__)
        if isinstance(copied.target, str) and node.op in ("call_module", "get_attr"):
            copied.target = copied.target.removeprefix(f"{_ROOT}.")
        values[node] = copied
    return values


def _graph_module(root: _Rooted, graph: fx.Graph, role: str) -> fx.GraphModule:
    """Graph module that runs the graph with the root's own layers and parameters."""
    for node in reversed(graph.nodes):
        if node.op == "get_attr" and not node.users:
            graph.erase_node(node)
    targets = {str(node.target): node.op for node in graph.nodes if node.op in ("call_module", "get_attr")}
    held = {target: _look_up(root, target) for target in targets}
    part = fx.GraphModule(held, graph, class_name=f"{type(root.network).__name__}{role}")
    persistent = root.network.state_dict().keys()
    for target, value in held.items():
        # A graph module saves every tensor it holds; here tables and constants stay unsaved, as in the network.
        if isinstance(value, Tensor) and not isinstance(value, nn.Parameter) and target not in persistent:
            owner, _, name = target.rpartition(".")
            part.get_submodule(owner).register_buffer(name, value, persistent=False)
    part.training = root.network.training
    return part


def _look_up(root: _Rooted, target: str) -> Any:
    value: Any = root if target.startswith("_tensor_constant") else root.network
    for name in target.split("."):
        value = getattr(value, name)
    return value
