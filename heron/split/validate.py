"""Refuse, before anything runs, what cannot be trained by split federated learning with backprop-free clients."""

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedTensorMixin

from heron.errors import SplitError
from heron.split.model import SplitModel
from heron.split.randomness import has_batchnorm, seeded_randomness
from heron.zo import preserved_buffers


def check_trainable(
    split: SplitModel, example: Tensor, *, micro_batch: int | None = None, needs_auxiliary: bool = True
) -> None:
    """Check a cut network on a batch of inputs; parameters, buffers, modes and generators stay as they are.

    Runs, without gradients and in training mode: the client part once, then auxiliary network and server part once
    each on a copy of its smashed data.

    Args:
        split: the cut network.
        example: inputs of at least one example, shape (B, ...).
        micro_batch: examples per forward pass, if batches are to be computed in pieces.
        needs_auxiliary: whether the algorithm trains clients on an auxiliary loss.

    Raises:
        SplitError: with the reason and what to do.
    """
    if needs_auxiliary and split.auxiliary is None:
        raise SplitError("expected an auxiliary network, found none: give `auxiliary=` to the cut, e.g. linear_head")
    _check_parameters(split)
    if micro_batch is not None and has_batchnorm(split.client):
        raise SplitError(
            "micro-batches and BatchNorm exclude each other, because BatchNorm couples the examples of a batch; use "
            "GroupNorm (split.norm=group) or client.micro_batch=0"
        )
    if len(example) == 1:  # BatchNorm in training mode needs two values per channel
        example = torch.cat([example, example])
    with torch.no_grad(), preserved_buffers(split), seeded_randomness(0, example.device):
        smashed = _run("client part", split.client, example)
        if smashed.dim() < 1 or len(smashed) != len(example):
            raise SplitError(
                f"expected smashed data with the batch of {len(example)} first, found shape {tuple(smashed.shape)}"
            )
        if split.auxiliary is not None:
            _check_consumer("auxiliary network", split.auxiliary, smashed)
        _check_consumer("server part", split.server, smashed)


def _check_parameters(split: SplitModel) -> None:
    for name, tensor in [*split.named_parameters(), *split.named_buffers()]:
        if isinstance(tensor, UninitializedTensorMixin):
            raise SplitError(f"{name!r} is not initialised; run the network once before it is trained")
    for name, parameter in split.named_parameters():
        if parameter.requires_grad and not parameter.dtype.is_floating_point:
            raise SplitError(f"expected real floating parameters, found {parameter.dtype} in {name!r}")
    for name, layer in split.client.named_modules():
        if isinstance(layer, nn.SyncBatchNorm):
            raise SplitError(f"client layer {name!r} is SyncBatchNorm, which talks between processes; use BatchNorm")
    mine = {id(parameter) for parameter in split.client.parameters()}
    shared = [name for name, parameter in split.server.named_parameters() if id(parameter) in mine]
    if shared:
        raise SplitError(f"server parameter {shared[0]!r} is the client's too; they train apart, untie it")


def _check_consumer(what: str, module: nn.Module, smashed: Tensor) -> None:
    """The same smashed data goes to the auxiliary network, the server and the wire: nobody may change it."""
    given = smashed.clone()
    version = given._version
    outputs = _run(what, module, given)
    if given._version != version:
        raise SplitError(
            f"the {what} changes its input in place (its first layer, e.g. ReLU(inplace=True)); use inplace=False there"
        )
    if not bool(torch.isfinite(outputs).all()):
        raise SplitError(f"the {what} gives NaN or infinity on the first examples; check the data and the weights")


def _run(what: str, module: nn.Module, inputs: Tensor) -> Tensor:
    modes = {layer: layer.training for layer in module.modules()}
    try:
        outputs = module.train()(inputs)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise SplitError(f"the {what} does not run on inputs of shape {tuple(inputs.shape)}: {error}") from error
    finally:
        for layer, mode in modes.items():
            layer.training = mode
    if not isinstance(outputs, Tensor):
        raise SplitError(f"expected one tensor from the {what}, found {type(outputs).__name__}")
    return outputs
