"""Check that a cut network can be trained with forward passes on the client; refusals say what to do about it."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from heron.errors import SplitError
from heron.randomness import has_batchnorm
from heron.split.cut import check_example, check_initialised
from heron.split.model import ClientPart, SplitModel
from heron.split.sharing import check_disjoint
from heron.split.trial import Trial


def check_trainable(
    split: SplitModel,
    example: Tensor,
    *,
    micro_batch: int | None = None,
    needs_auxiliary: bool = True,
    holds_server: bool = False,
) -> tuple[str, ...]:
    """Refuse a cut network that clients and servers could not train, or would silently train wrongly.

    The parts are inspected first, then run without gradients on two examples a and b (b = a if there is only one). The
    client runs, then auxiliary network and server run on its smashed data, in training and in evaluation mode. Then the
    client runs on a, b, b in evaluation mode. With micro-batches and without Dropout, client and auxiliary network run
    in training mode on a, b, b, b, in one batch and in pieces of one or two. Parameters, buffers, modes,
    `requires_grad` flags and torch's generators are as before when it returns or raises.

    Args:
        split: the cut network; its auxiliary network is ignored if it is not needed.
        example: a batch of inputs, shape (B, ...), B >= 1, on the network's device.
        micro_batch: number of examples per forward pass on the client; None for the whole batch.
        needs_auxiliary: whether clients hold and train the auxiliary network.
        holds_server: whether clients also hold and train the server part.

    Returns:
        A description of the runs, one line per forward pass, in order.

    Raises:
        SplitError: if the auxiliary network is missing; layers are uninitialised; a part has nothing to train; the
            client's trainable parameters differ in dtype or device or are not real floating point; a SyncBatchNorm is
            found, or a BatchNorm with micro-batches; the server shares tensors with the client or the auxiliary
            network; a part does not run, changes its input or its parameters, returns anything other than one finite
            tensor, or draws random numbers that no seed controls; the smashed data lack the batch dimension; examples
            of a batch depend on each other although micro-batches separate them.
    """
    check_example(example)
    held = _held(split, needs_auxiliary=needs_auxiliary)
    if holds_server:
        held["server"] = split.server
    check_initialised(split)
    if next(_trainable(split.server), None) is None:
        raise SplitError("expected trainable parameters in the server part, found none; cut earlier or unfreeze some")
    _check_parameters(held, needs_auxiliary=needs_auxiliary)
    check_normalisation(split, held, micro_batch)
    for name, part in held.items() if not holds_server else ():
        check_disjoint(name, part, "server", split.server)
    return Trial(split, {**held, "server": split.server}, example).run(micro_batch)


def check_client(
    part: ClientPart, example: Tensor, *, micro_batch: int | None = None, needs_auxiliary: bool = True
) -> tuple[str, ...]:
    """Refuse a client's part that could not be trained: `check_trainable` for a process without the server's part.

    Args:
        part: the client's part; its auxiliary network is ignored if it is not needed.
        example: as for `check_trainable`.
        micro_batch: as for `check_trainable`.
        needs_auxiliary: whether the client holds and trains the auxiliary network.

    Returns:
        A description of the runs, one line per forward pass, in order.

    Raises:
        SplitError: as `check_trainable`, except for everything about the server part.
    """
    check_example(example)
    held = _held(part, needs_auxiliary=needs_auxiliary)
    check_initialised(part)
    _check_parameters(held, needs_auxiliary=needs_auxiliary)
    check_normalisation(part, held, micro_batch)
    return Trial(part, dict(held.items()), example).run(micro_batch)


def _held(split: SplitModel | ClientPart, *, needs_auxiliary: bool) -> nn.ModuleDict:
    """The parts with which a client computes its local loss, by name."""
    if not needs_auxiliary:
        return nn.ModuleDict({"client": split.client})
    if split.auxiliary is None:
        raise SplitError(
            "expected an auxiliary network for the client's local loss, found none; pass one, e.g. "
            "cut(..., auxiliary=lambda shape: linear_head(shape, num_classes))"
        )
    return nn.ModuleDict({"client": split.client, "auxiliary": split.auxiliary})


def _check_parameters(held: nn.ModuleDict, *, needs_auxiliary: bool) -> None:
    if needs_auxiliary and next(_trainable(held["client"]), None) is None:
        raise SplitError("expected trainable parameters in the client part, found none; cut later or unfreeze some")
    first = next(_trainable(held), None)
    if first is None:
        return
    first_name, reference = first
    for name, parameter in _trainable(held):
        if not parameter.dtype.is_floating_point:
            raise SplitError(
                f"expected real floating-point parameters, found {parameter.dtype} in {name!r}; freeze or convert it"
            )
        if (parameter.dtype, parameter.device) != (reference.dtype, reference.device):
            raise SplitError(
                f"expected the client's trainable parameters in one dtype on one device, found {reference.dtype} on "
                f"{reference.device} in {first_name!r} and {parameter.dtype} on {parameter.device} in {name!r}; "
                f"convert or freeze one"
            )


def check_normalisation(split: SplitModel | ClientPart, held: nn.Module, micro_batch: int | None) -> None:
    """Refuse layers that couple examples or processes which training separates.

    Args:
        split: the cut network.
        held: the part of it that a client holds.
        micro_batch: number of examples per forward pass on the client; None for the whole batch.

    Raises:
        SplitError: if a SyncBatchNorm, or a BatchNorm with micro-batches, is found.
    """
    for name, module in split.named_modules():
        if isinstance(module, nn.SyncBatchNorm):
            raise SplitError(
                f"expected layers that work within one process, found the SyncBatchNorm {name!r}; use BatchNorm or "
                f"GroupNorm"
            )
    if micro_batch is None:
        return
    if micro_batch < 1:
        raise SplitError(f"expected micro-batches of at least 1 example, found {micro_batch}; use None for none")
    if has_batchnorm(held):
        raise SplitError(
            f"expected no BatchNorm on the client with micro-batches (of {micro_batch}), found one: it couples the "
            f"examples of a batch; use GroupNorm (resnet18: norm='group') or leave micro-batches out"
        )


def _trainable(module: nn.Module) -> Iterator[tuple[str, torch.nn.Parameter]]:
    return ((name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad)
