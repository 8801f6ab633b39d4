"""Cut a network after a named layer.

An `nn.Sequential`, including nested ones, is cut by distributing its children; any other module by its traced graph
(`heron.split.traced`). In both cases the parts hold the network's own modules and parameters.
"""

import difflib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from heron.errors import SplitError
from heron.ranges import shown
from heron.split.equivalence import check_equivalence
from heron.split.fakes import has_values
from heron.split.model import SplitModel
from heron.split.sharing import check_disjoint
from heron.split.traced import cut_graph
from heron.split.untouched import attempt, untouched

_Children = OrderedDict[str, nn.Module]


def cut(
    model: nn.Module,
    after: str,
    *,
    example: Tensor,
    auxiliary: nn.Module | Callable[[torch.Size], nn.Module] | None = None,
) -> SplitModel:
    """Cut a network after a layer into a client and a server part.

    Nothing is copied: the parts consist of the network's own modules, so training the parts trains the network (use
    `copy.deepcopy(model)` to keep the original). Layers keep their names, so the union of the parts' state dicts is the
    network's. The network, its modes and torch's generators are not changed; only an `auxiliary` callable may draw
    random numbers (initial weights).

    A network that is not an `nn.Sequential` must call the layer once, and the code around the layer (not inside other
    submodules) must be free of control flow that depends on data or on `self.training`.

    Args:
        model: the network; maps one tensor (B, ...) to one tensor.
        after: name of the last layer of the client part, as in `model.named_modules()`, e.g. `"features.3"`.
        example: one batch of inputs, shape (B, ...), B >= 1, on the network's device; network and parts are run on it.
        auxiliary: the auxiliary network, or a function that makes it from the shape of ONE example's smashed data (no
            batch dimension), e.g. `lambda shape: linear_head(shape, 10)`.

    Returns:
        The cut network, with `smashed_shape` set. On the example it computes exactly what the uncut network does; under
        a `FakeTensorMode`, where tensors have no values, this is not checked.

    Raises:
        SplitError: if the layer does not exist or is not called exactly once, more than one tensor crosses the cut, the
            server has no trainable parameters, a parameter or buffer is on both sides, the code around the layer cannot
            be traced, layers are uninitialised, or the network does not run on the example.

    Examples:
        >>> network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> split = cut(network, after="1", example=torch.zeros(1, 4))
        >>> split.smashed_shape, list(split.server)
        (torch.Size([3]), [Linear(in_features=3, out_features=2, bias=True)])
    """
    _check_arguments(model, after, auxiliary)
    check_initialised(model)
    check_example(example)
    with untouched(model, example.device):
        outputs = attempt("network", model.eval(), example.clone())
    path = after.split(".")
    client, server = _cut_sequential(model, path) if _is_nested_sequential(model, path) else cut_graph(model, after)
    if not any(parameter.requires_grad for parameter in server.parameters()):
        raise SplitError(f"a cut after {after!r} leaves the server nothing to train; cut after an earlier layer")
    check_disjoint("client part", client, "server part", server)
    split = SplitModel(client, server, smashed_shape=smashed_shape(client, example))
    split.training = model.training
    if has_values(outputs):
        # On a GPU two runs of one network may differ by rounding; a wrong cut differs by far more.
        tolerance = 0.0 if example.device.type == "cpu" else 1e-3 * float(outputs.abs().max())
        check_equivalence(model, split, example, tolerance=tolerance)
    split.auxiliary = build_auxiliary(auxiliary, split.smashed_shape)
    return split


def smashed_shape(client: nn.Module, example: Tensor) -> torch.Size:
    """Shape of one example's smashed data, found by running the client part in evaluation mode.

    Args:
        client: f_c; not changed.
        example: inputs, shape (B, ...).

    Raises:
        SplitError: if the client part does not run, or its output is not one tensor with the batch dimension first.
    """
    with untouched(client, example.device):
        smashed = attempt("client part", client.eval(), example.clone())
    check_batch_dimension(smashed, len(example))
    return smashed.shape[1:]


def ordered_children(container: nn.Module) -> _Children:
    """Children of a container by name, in order; a layer used twice appears twice."""
    # Not named_children(): it skips the second place of a layer that occurs twice, e.g. a ReLU used again.
    names = dict.fromkeys(name.split(".")[0] for name, _ in container.named_modules(remove_duplicate=False) if name)
    return OrderedDict((name, container.get_submodule(name)) for name in names)


def check_example(example: Tensor) -> None:
    """Refuse an example that is not a batch of at least one input.

    Raises:
        SplitError: with a description of the example.
    """
    if not isinstance(example, Tensor) or example.dim() == 0 or len(example) == 0:
        found = f"a tensor of shape {tuple(example.shape)}" if isinstance(example, Tensor) else type(example).__name__
        raise SplitError(f"expected an example batch, a tensor of shape (B, ...) with B >= 1, found {found}")


def check_batch_dimension(smashed: Tensor, num_examples: int) -> None:
    """Refuse smashed data whose first dimension is not the batch.

    Raises:
        SplitError: with the shape.
    """
    if smashed.dim() < 2 or len(smashed) != num_examples:
        raise SplitError(
            f"expected smashed data of shape (batch, ...) with at least one more dimension, found "
            f"{tuple(smashed.shape)} for {num_examples} examples; cut after a layer whose output has the batch first"
        )


def check_initialised(module: nn.Module) -> None:
    """Refuse lazy layers that have not been initialised by an input.

    Raises:
        SplitError: with the name of the first uninitialised tensor.
    """
    for store in (module.named_parameters(), module.named_buffers()):
        for name, tensor in store:
            if is_lazy(tensor):
                raise SplitError(
                    f"expected initialised layers, found the lazy {name!r}; run the network once on an example before"
                )


def _check_arguments(model: Any, after: Any, auxiliary: Any) -> None:
    if not isinstance(model, nn.Module):
        raise SplitError(f"expected a network to cut, an nn.Module, found {shown(model)}; give the module itself")
    if not (auxiliary is None or isinstance(auxiliary, nn.Module) or callable(auxiliary)):
        raise SplitError(
            f"expected an auxiliary network or a function that makes it, found {shown(auxiliary)}; write e.g. "
            f"auxiliary=lambda shape: linear_head(shape, num_classes)"
        )
    names = [name for name, _ in model.named_modules(remove_duplicate=False) if name]
    if after in names:
        return
    near = (difflib.get_close_matches(after, names, n=3, cutoff=0.4) if isinstance(after, str) else []) or names[:5]
    raise SplitError(
        f"expected the name of a layer to cut after, found {shown(after)}; did you mean {' or '.join(map(repr, near))}?"
        if near
        else f"expected a network made of layers, found a {type(model).__name__} without any; use SplitModel"
    )


def _is_nested_sequential(model: nn.Module, path: list[str]) -> bool:
    """Return whether every module on the path to the layer only calls its children in sequence."""
    containers = [model.get_submodule(".".join(path[:depth])) for depth in range(len(path))]
    return all(type(container).forward is nn.Sequential.forward for container in containers)


def _cut_sequential(model: nn.Module, path: list[str]) -> tuple[nn.Module, nn.Module]:
    head, tail = _take_apart(model, path)
    return _sequential(head, model), _sequential(tail, model)


def _take_apart(container: nn.Module, path: list[str]) -> tuple[_Children, _Children]:
    """Divide children into those up to the layer and those after it; a container around the cut is divided, too."""
    children = ordered_children(container)
    names = list(children)
    position = names.index(path[0])
    head = OrderedDict((name, children[name]) for name in names[: position + 1])
    tail = OrderedDict((name, children[name]) for name in names[position + 1 :])
    if len(path) > 1:
        nested = children[path[0]]
        inner_head, inner_tail = _take_apart(nested, path[1:])
        head[path[0]] = _sequential(inner_head, nested)
        if inner_tail:
            tail[path[0]] = _sequential(inner_tail, nested)
            tail.move_to_end(path[0], last=False)
    return head, tail


def _sequential(children: _Children, like: nn.Module) -> nn.Sequential:
    part = nn.Sequential(children)
    part.training = like.training
    return part


def build_auxiliary(
    auxiliary: nn.Module | Callable[[torch.Size], nn.Module] | None, shape: torch.Size | None
) -> nn.Module | None:
    """The auxiliary network itself, or the result of calling the function on the shape of one example's smashed data.

    Raises:
        SplitError: if the function returns anything other than a module.
    """
    if auxiliary is None or isinstance(auxiliary, nn.Module):
        return auxiliary
    assert shape is not None  # set just before
    built = auxiliary(shape)
    if not isinstance(built, nn.Module):
        raise SplitError(f"expected the auxiliary function to return an nn.Module, found {type(built).__name__}")
    return built
