"""A client's layers in groups that learn from losses of their own, and the local heads of these losses.

    x -> group 1 -> h_1 -> group 2 -> h_2 -> ... -> group L -> z

A group is trained on the loss of a small head on its outputs; its inputs are data to it. The head of the last group is
the auxiliary network. Local heads belong to the client: they are averaged like its layers and never leave for the Main
Server. Layer-local learning: Noekland and Eidnes (ICML 2019), Belilovsky, Eickenberg and Oyallon (ICML 2019).

`B` examples of a batch.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn

from heron.errors import SplitError
from heron.randomness import build_seeded
from heron.seeds import derive_seed
from heron.split.boundary import layers_of
from heron.split.cut import check_batch_dimension
from heron.split.heads import local_head
from heron.split.model import ClientPart, SplitModel
from heron.split.sharing import check_disjoint
from heron.split.untouched import attempt, num_writes, untouched

Held = TypeVar("Held", SplitModel, ClientPart)


def layer_groups(client: nn.Module, *, count: int = 0, above: int = 0) -> list[nn.Sequential]:
    """Divide a client's layers into groups, from the input up.

    A group begins at a layer with weights after an activation or a block (a layer made of layers): convolution,
    normalisation and activation are one group, a residual block is one. Layers without weights belong to the group
    below them.

    Args:
        client: f_c; an `nn.Sequential` counts by its layers, any other module is one block.
        count: number of groups, neighbours joined as evenly as possible; 0 for as many as there are.
        above: number of modules, counted from the auxiliary network down as by `client.exact`, that are the last group
            whatever they are; 0 and 1 for none.

    Returns:
        Modules that contain the client's own layers.

    Raises:
        SplitError: if there are not as many groups, nothing is left below the last one, or two share a parameter.
    """
    layers = layers_of(client)
    starts = [position for position, layer in enumerate(layers) if _trains(layer)]
    if above - 1 >= max(1, len(starts)):
        raise SplitError(
            f"expected client.exact below {len(starts) + 1}, which leaves one of the {len(starts)} client layers with "
            f"parameters to a layer group, found {above}; lower it, or set client.learning=zeroth_order"
        )
    cut = starts[1 - above] if above > 1 else len(layers)
    groups = _joined(_found(layers[:cut]), count)
    found = [nn.Sequential(*group) for group in ([*groups, layers[cut:]] if above > 1 else groups)]
    for lower, higher in ((found[:place], found[place:]) for place in range(1, len(found))):
        check_disjoint("the lower layer groups", nn.Sequential(*lower), "the higher ones", nn.Sequential(*higher))
    return found


def with_local_heads(split: Held, inputs: Tensor, *, seed: int, count: int = 0, above: int = 0, pool: int = 4) -> Held:
    """Give a cut network the local heads of its layer groups; their weights depend on the seed alone.

    Args:
        split: the cut network, or a client's part of it; it stays as it is.
        inputs: a batch of inputs on its device, shape (B, ...), B >= 1.
        seed: seed of the run.
        count: as of `layer_groups`.
        above: as of `layer_groups`.
        pool: side of the map that a head averages its inputs to, at least 1.

    Returns:
        The same parts, with a head for each group but the last.

    Raises:
        SplitError: if the network has no such groups, an auxiliary network is missing or puts out no row of scores for
            each example and makes no heads of its own, or a group changes its inputs in place.
    """
    groups = layer_groups(split.client, count=count, above=above)
    shapes, scores = _shapes(split, groups, inputs)
    parameters = list(split.client.parameters())  # those that train may be wider than frozen ones
    first = next((parameter for parameter in parameters if parameter.requires_grad), parameters[0])

    def make() -> nn.ModuleList:
        if not isinstance(scores, Tensor):
            return nn.ModuleList(scores(first.dtype) for _ in groups[:-1])
        lower = zip(groups[:-1], shapes[:-1], strict=True)
        return nn.ModuleList(_head(group, shape, scores.shape[1], pool, first.dtype) for group, shape in lower)

    heads = build_seeded(make, derive_seed("local heads", seed))
    if any(parameter.device != first.device for parameter in heads.parameters()):
        heads = heads.to(first.device)
    if isinstance(split, ClientPart):
        return ClientPart(split.client, split.auxiliary, heads)  # type: ignore[return-value]  # as it was given
    parts = (split.client, split.server, split.auxiliary)
    whole = SplitModel(*parts, smashed_shape=split.smashed_shape, local_heads=heads)
    whole.training = split.training
    return whole


def _head(group: nn.Sequential, shape: torch.Size, num_scores: int, pool: int, dtype: torch.dtype) -> nn.Module:
    """The head of a layer group; a last layer that knows how its outputs are averaged makes its own."""
    own = getattr(group[-1], "make_local_head", None)
    if own is None:
        return local_head(shape, num_scores, pool, channels_first=_is_convolution(group), dtype=dtype)
    made: nn.Module = own(shape, num_scores)
    return made.to(dtype)


def _found(layers: Sequence[nn.Module]) -> list[list[nn.Module]]:
    """As many groups as there are."""
    groups: list[list[nn.Module]] = [[]]
    for layer in layers:
        has_weights = any(parameter.requires_grad and parameter.dim() > 1 for parameter in layer.parameters())
        own = groups[-1]
        if has_weights and any(map(_trains, own)) and any(map(_ends, own)):
            groups.append([])
        groups[-1].append(layer)
    return groups


def _joined(groups: list[list[nn.Module]], count: int) -> list[list[nn.Module]]:
    if count > len(groups):
        raise SplitError(
            f"expected client.groups from 1 to {len(groups)}, the layer groups of the client, found {count}; lower it, "
            f"or set 0 for all"
        )
    stops = [round(place * len(groups) / count) for place in range(count + 1)] if count else range(len(groups) + 1)
    return [[layer for group in groups[start:stop] for layer in group] for start, stop in pairwise(stops)]


def _trains(layer: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in layer.parameters())


def _ends(layer: nn.Module) -> bool:
    """Return whether a layer is an activation or a block."""
    home = type(layer).__module__
    return home == "torch.nn.modules.activation" or not home.startswith("torch.nn.modules.") or any(layer.children())


def _is_convolution(group: nn.Module) -> bool:
    return any(isinstance(layer, nn.Conv1d) for layer in group.modules())


def _shapes(
    split: Held, groups: Sequence[nn.Module], inputs: Tensor
) -> tuple[list[torch.Size], Tensor | Callable[[torch.dtype], nn.Module]]:
    """Shape of one example's outputs of each group, and the auxiliary network's scores, or how it makes a head."""
    if split.auxiliary is None:
        raise SplitError(
            "expected an auxiliary network, the head of the last layer group, found none; pass one, e.g. "
            "cut(..., auxiliary=lambda shape: linear_head(shape, num_classes))"
        )
    shapes, outputs = [], inputs
    with untouched(split, inputs.device):
        split.eval()
        for number, group in enumerate(groups, start=1):
            given = outputs.clone()
            writes = num_writes(given)
            outputs = attempt(f"layer group {number}", group, given)
            check_batch_dimension(outputs, len(inputs))
            if num_writes(given) != writes:
                raise SplitError(
                    f"expected layer group {number} to leave its input alone, found that it changes it in place: "
                    f"probes need it again; set inplace=False in its first operation"
                )
            shapes.append(outputs.shape[1:])
        scores = split.auxiliary(outputs)
    own: Callable[[torch.dtype], nn.Module] | None = getattr(split.auxiliary, "make_local_head", None)
    if own is not None:
        return shapes, own
    if not isinstance(scores, Tensor) or scores.dim() != 2:
        found = f"shape {tuple(scores.shape)}" if isinstance(scores, Tensor) else type(scores).__name__
        raise SplitError(
            f"expected one row of scores for each example from the auxiliary network where layer groups have local "
            f"heads, found {found}; set client.learning=zeroth_order"
        )
    return shapes, scores
