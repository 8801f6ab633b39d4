"""Refuses labels that a criterion cannot use with the outputs of a network, and criteria that are no mean.

`B` examples of a batch, `C` classes.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from heron.errors import ConfigError, DataError
from heron.split import TokenLogits
from heron.split.criterion import MeanLoss, is_torchs, name_of, scaled, takes_classes
from heron.split.untouched import one_line

# Differences of float32 sums are far smaller, those of a loss that couples examples far larger.
_TOLERANCE = 1e-3
_ROUNDINGS = 8


def check_labels(part: str, outputs: Any, labels: np.ndarray, loss: MeanLoss, name: str) -> None:
    """Refuse labels of a data set that are no classes of a network's outputs, or no numbers.

    Args:
        part: name of the part that the outputs are of.
        outputs: of a few examples.
        labels: of all examples, shape (n, ...).
        loss: the criterion.
        name: what errors call the examples, e.g. `training`.

    Raises:
        DataError: naming the first label.
    """
    rows = labels.reshape(len(labels), -1)
    num_classes = _num_classes(outputs, loss)
    if labels.dtype.kind == "f":
        odd, wanted, remedy = ~np.isfinite(rows), "finite labels", "repair them or leave their examples out"
    elif labels.dtype.kind in "iu" and num_classes is not None:
        odd = (rows < 0) | (rows >= num_classes)
        odd &= True if loss.ignored is None else rows != loss.ignored
        wanted = f"labels from 0 to {num_classes - 1} for the {num_classes} outputs of the {part}"
        mark = "" if loss.ignored is None else f", mark what does not count by {loss.ignored}"
        remedy = f"number classes from 0{mark}, or give the network more outputs"
    else:
        return
    if odd.any():
        example, place = np.argwhere(odd)[0]
        count = int(odd.any(1).sum())
        others = f" and others in {count - 1} more" if count > 1 else ""
        raise DataError(
            f"expected {wanted}, found {rows[example, place]} in {name} example {example}{others}; {remedy}"
        )


def check_loss(part: str, outputs: Any, labels: Tensor, loss: MeanLoss, *, micro_batch: int | None) -> None:
    """Refuse a criterion that does not work with outputs and labels, or is no differentiable mean over examples.

    Args:
        part: name of the part that the outputs are of.
        outputs: of B examples.
        labels: of the same examples.
        loss: the criterion.
        micro_batch: number of examples per forward pass on the client; None for the whole batch.

    Raises:
        DataError: if the labels do not fit.
        ConfigError: if the criterion is no such mean.
    """
    _check_shapes(part, outputs, labels, loss)
    given, leaf = _differentiable(outputs)
    try:
        with torch.enable_grad():
            value = loss.unguarded(given, labels)
    except Exception as error:
        raise DataError(_misfit(part, outputs, labels, loss, f": {one_line(error)}")) from error
    _check_value(value, loss, len(labels))
    try:
        torch.autograd.grad(value, leaf)
    except Exception as error:
        if _advice(outputs, labels):
            raise DataError(_misfit(part, outputs, labels, loss, f": {one_line(error)}")) from error
        raise ConfigError(
            f"expected a loss of {name_of(loss.criterion)} that can be differentiated, found {one_line(error)}; "
            f"compute it from the outputs by operations of torch"
        ) from error
    _check_mean(part, outputs, labels, loss, micro_batch)


def _num_classes(outputs: Any, loss: MeanLoss) -> int | None:
    """C, where labels are surely classes."""
    if isinstance(outputs, TokenLogits):
        return len(outputs.unembedding_VD)
    return outputs.shape[1] if takes_classes(loss.criterion) and outputs.dim() > 1 else None


def _check_shapes(part: str, outputs: Any, labels: Tensor, loss: MeanLoss) -> None:
    """Refuse what torch's losses would take, but compute something else from."""
    if not isinstance(outputs, Tensor) or not is_torchs(loss.criterion):
        return
    if not takes_classes(loss.criterion):
        # Broadcast otherwise, with a warning at best: (B,) and (B, 1) to (B, B).
        if labels.dtype.is_floating_point and labels.shape != outputs.shape:
            raise DataError(_misfit(part, outputs, labels, loss, ""))
    elif outputs.dim() > 1 and outputs.shape[1] == 1 and not labels.dtype.is_floating_point:
        raise DataError(
            f"expected at least 2 outputs of the {part} for {name_of(loss.criterion)}, found 1, whose loss is always "
            f"0; give it an output for each class, or use BCEWithLogitsLoss and labels of shape (B, 1) and type float32"
        )


def _differentiable(outputs: Any) -> tuple[Any, Tensor]:
    """The outputs with a leaf to differentiate by, and this leaf."""
    if isinstance(outputs, TokenLogits):
        leaf = outputs.hidden_BTD.detach().requires_grad_()
        return outputs._replace(hidden_BTD=leaf), leaf
    leaf = outputs.detach().requires_grad_()
    return leaf, leaf


def _check_value(value: object, loss: MeanLoss, num_examples: int) -> None:
    name = name_of(loss.criterion)
    if not isinstance(value, Tensor):
        raise ConfigError(
            f"expected a tensor as the loss of {name}, found {type(value).__name__}; return it without .item() or "
            f"float()"
        )
    if value.numel() != 1:
        raise ConfigError(
            f"expected one number as the loss of {name}, found shape {tuple(value.shape)} for {num_examples} examples; "
            f"let it return their mean, e.g. by reduction='mean'"
        )


def _check_mean(part: str, outputs: Any, labels: Tensor, loss: MeanLoss, micro_batch: int | None) -> None:
    """Compare the loss of a batch with those of its examples."""
    try:
        with torch.no_grad():
            whole = float(loss(outputs, labels))
            pieces = [loss(_row(outputs, index), labels[index : index + 1]) for index in range(len(labels))]
            shares = [loss.share(labels[index : index + 1], labels) for index in range(len(labels))]
    except Exception:  # noqa: BLE001 - some criteria need more than one example
        return
    if not math.isfinite(whole):
        raise ConfigError(
            f"expected a finite loss of {name_of(loss.criterion)} before training, found {whole} for the outputs of "
            f"the {part}; check the criterion, its labels and the range of the outputs"
        )
    total = float(torch.stack(pieces).double().sum())
    mean = sum(float(scaled(piece.double(), share)) for piece, share in zip(pieces, shares, strict=True))
    tolerance = max(_TOLERANCE, _ROUNDINGS * torch.finfo(pieces[0].dtype).eps)
    if len(labels) < 2 or math.isclose(whole, mean, rel_tol=tolerance, abs_tol=1e-6):
        return
    if isinstance(outputs, Tensor) and outputs.shape in {(*labels.shape, 1), labels.shape[:-1]}:  # broadcast
        raise DataError(_misfit(part, outputs, labels, loss, ""))
    if math.isclose(whole, total, rel_tol=tolerance, abs_tol=1e-6):
        raise ConfigError(
            f"expected a mean over examples from {name_of(loss.criterion)}, found their sum: batches of several sizes "
            f"are weighted by their number of examples; divide by it, e.g. by reduction='mean'"
        )
    if micro_batch is not None:
        raise ConfigError(
            f"expected a mean over examples from {name_of(loss.criterion)} with micro-batches (of {micro_batch}), "
            f"found {whole:.6g} for a batch and {mean:.6g} from its examples one by one; leave micro-batches out"
        )


def _row(outputs: Any, index: int) -> Any:
    if isinstance(outputs, TokenLogits):
        return outputs._replace(hidden_BTD=outputs.hidden_BTD[index : index + 1])
    return outputs[index : index + 1]


def _misfit(part: str, outputs: Any, labels: Tensor, loss: MeanLoss, reason: str) -> str:
    shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else tuple(outputs.hidden_BTD.shape)
    advice = _advice(outputs, labels) or "change the labels, the criterion or the network's last layer"
    return (
        f"expected labels that {name_of(loss.criterion)} takes with the outputs of the {part} of shape {shape}, found "
        f"shape {tuple(labels.shape)} and type {str(labels.dtype).removeprefix('torch.')}{reason}; {advice}"
    )


def _advice(outputs: Any, labels: Tensor) -> str:
    """What to do about labels; empty if nothing about them is odd."""
    if not isinstance(outputs, Tensor):
        return ""
    is_float, found, wanted = labels.dtype.is_floating_point, tuple(labels.shape), tuple(outputs.shape)
    if found == (*wanted, 1) or (found[1:] == (1,) and len(wanted) > 1 and wanted[1] > 1 and not is_float):
        return f"take the last dimension away: labels.squeeze({len(found) - 1})"
    if (*found, 1) == wanted:
        return f"give them the shape of the outputs: labels.unsqueeze({len(found)})" + ("" if is_float else ".float()")
    if is_float and len(found) == len(wanted) - 1 and wanted[:1] + wanted[2:] == found:
        return "make classes integers: labels.long()"
    if is_float and labels.dtype != outputs.dtype:
        return f"give them the type of the outputs, {str(outputs.dtype).removeprefix('torch.')}"
    if not is_float and found == wanted:
        return "make them floating-point numbers: labels.float()"
    return ""
