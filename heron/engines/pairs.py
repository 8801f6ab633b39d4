"""Batches of a single example, for networks that do not work with one: found out, and told before the first round.

BatchNorm in training mode needs more than one value of each channel. Where a client's last batch has one example, it
joins the batch before (`Terms.joins`); a client, or a batch size, of one example leaves nothing to join.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from heron.algorithms import Algorithm
from heron.data import Batch
from heron.errors import ConfigError, DataError
from heron.split import SplitModel
from heron.split.criterion import Criterion, MeanLoss
from heron.split.untouched import untouched
from heron.tensors import as_tensor
from heron.wire.groups import Settings
from heron.wire.terms import Pairs, Terms


def pairs_needed(
    split: SplitModel, algorithm: Algorithm, settings: Settings, criterion: Criterion, example: Batch
) -> Pairs:
    """Find out which local steps need at least two examples, by trying one in training mode.

    Args:
        split: the cut network, which works with two; restored after the runs.
        algorithm: a row of `ALGORITHMS`.
        settings: device and refreshed auxiliary networks matter here.
        criterion: mean loss over a batch.
        example: at least one example.
    """
    device, loss = torch.device(settings.device), MeanLoss(criterion)
    inputs, labels = as_tensor(example.inputs, device)[:1], as_tensor(example.labels, device)[:1]
    held = {"auxiliary": split.auxiliary, "server": split.server, None: None}[algorithm.head]
    fitted = algorithm.downlink_only == "auxiliary" or settings.server.refresh_auxiliary
    served = [split.server, *([split.auxiliary] if fitted and split.auxiliary is not None else [])]
    with untouched(split, device):
        split.train()
        smashed = _alone(split.client, inputs)
        if smashed is None or (held is not None and not _learns(held, smashed, labels, loss)):
            return "all"
        if algorithm.uploads != "never" and not all(_learns(part, smashed, labels, loss) for part in served):
            return "uploads"
    return "none"


def check_pairs(terms: Terms, split: nn.Module, sizes: Sequence[int], participants: Sequence[Sequence[int]]) -> None:
    """Refuse batches of one example that no other batch can take in, where two are needed.

    Args:
        terms: of the run.
        split: the cut network, whose layer is named.
        sizes: number of examples of each client.
        participants: the clients of each round.

    Raises:
        ConfigError: if every batch has one example.
        DataError: naming a client that has one.
    """
    if terms.pairs == "none":
        return
    names = [name for name, module in split.named_modules() if isinstance(module, _BatchNorm)]
    reason = f"the BatchNorm {names[0]!r}" if names else "the network or its loss"
    if terms.settings.client.batch_size == 1:
        raise ConfigError(
            f"expected client.batch_size of at least 2, found 1: {reason} does not work with one example; raise it, or "
            f"use GroupNorm"
        )
    alone = sorted({client_id for chosen in participants for client_id in chosen if sizes[client_id] == 1})
    if alone:
        others = f" (and {len(alone) - 1} others)" if len(alone) > 1 else ""
        raise DataError(
            f"expected at least 2 examples of every client, found 1 of client {alone[0]}{others}: {reason} does not "
            f"work with one example; use GroupNorm, lower clients.total, raise clients.alpha, or choose another seed"
        )


def _alone(part: nn.Module, inputs: Tensor) -> Tensor | None:
    """Outputs of a part for one example; None if it does not work with one."""
    try:
        outputs: Tensor = part(inputs.clone())
    except Exception:  # noqa: BLE001 - whatever a layer raises; it has worked with two examples
        return None
    return None if isinstance(outputs, Tensor) and (outputs.dim() == 0 or len(outputs) != 1) else outputs


def _learns(part: nn.Module, smashed: Tensor, labels: Tensor, loss: MeanLoss) -> bool:
    """Return whether a part and its loss work with one example."""
    outputs = _alone(part, smashed)
    if outputs is None:
        return False
    try:
        loss(outputs, labels)
    except Exception:  # noqa: BLE001 - whatever a criterion raises
        return False
    return True
