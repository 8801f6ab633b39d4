"""Loss of the global model on a data set, with the accuracy of a classifier or the perplexity of a language model.

`B` examples of a batch, `C` classes, `T` positions of a sequence.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from heron.data import fetch, num_examples
from heron.split import num_counted
from heron.split.criterion import Criterion
from heron.tensors import as_tensor


@dataclass(frozen=True)
class Evaluation:
    """Result on one data set.

    Attributes:
        loss: mean loss per counted label: an example's class, or a token whose label is not `IGNORED`.
        accuracy: share of labels whose output is the largest, in [0, 1]; None for token outputs.
        perplexity: exp(loss), infinite if that exceeds a float; None for outputs other than tokens.
    """

    loss: float
    accuracy: float | None
    perplexity: float | None

    def metrics(self, split: str) -> dict[str, float | None]:
        """Entries of a row of metrics, e.g. `test_perplexity` and `test_loss`.

        JSON has neither infinity nor NaN: such a value is None, which means that the evaluation diverged. A row without
        the key was not evaluated.

        Args:
            split: name of the data set, the first part of each key.
        """
        judged = {"accuracy": self.accuracy} if self.perplexity is None else {"perplexity": self.perplexity}
        values = judged | {"loss": self.loss}
        return {
            f"{split}_{name}": value if value is not None and math.isfinite(value) else None
            for name, value in values.items()
        }


@torch.no_grad()
def evaluate(
    model: nn.Module,
    dataset: Dataset[tuple[Tensor, ...]],
    criterion: Criterion,
    *,
    device: torch.device,
    batch_size: int = 500,
    max_tokens: int = 4096,
) -> Evaluation | None:
    """Evaluate a model in evaluation mode, then restore its mode.

    Every batch is weighted by its counted labels: examples, or the tokens of integer labels of shape (B, T) that are
    not `IGNORED`. So the result is that of one large batch, up to rounding.

    Args:
        model: maps inputs to scores of shape (B, C), or to token outputs, which are not a tensor (`TokenLogits`).
        dataset: examples (input, label).
        criterion: mean loss over the counted labels of a batch.
        device: device of the computation.
        batch_size: number of examples fetched at a time, and per forward pass if a label is one number.
        max_tokens: number of positions per forward pass if labels are sequences, padding included; at least one
            sequence is computed.

    Returns:
        The evaluation, or None if no label counts, e.g. for an empty data set.
    """
    total = num_examples(dataset)
    sums = _Sums()
    was_training = model.training
    model.eval()
    try:
        for start in range(0, total, batch_size):
            batch = fetch(dataset, np.arange(start, min(start + batch_size, total)), device)
            for inputs, labels in _pieces(as_tensor(batch.inputs), as_tensor(batch.labels), max_tokens):
                outputs = model(inputs)
                sums.add(outputs, labels, criterion(outputs, labels))
    finally:
        model.train(was_training)
    return sums.evaluation()


def _pieces(inputs: Tensor, labels: Tensor, max_tokens: int) -> Iterator[tuple[Tensor, Tensor]]:
    if not _are_tokens(labels):
        yield inputs, labels
        return
    size = max(1, max_tokens // max(1, labels.shape[1]))
    for start in range(0, len(labels), size):
        yield inputs[start : start + size], labels[start : start + size]


def _are_tokens(labels: Tensor) -> bool:
    """Return whether a label is a sequence of tokens rather than a class or numbers to regress on."""
    return labels.dim() > 1 and not labels.dtype.is_floating_point


@dataclass
class _Sums:
    """Sums over batches, on the device until the end, so that no batch waits for the host."""

    losses: list[Tensor] = field(default_factory=list)
    counts: list[Tensor | int] = field(default_factory=list)
    correct: list[Tensor] = field(default_factory=list)

    def add(self, outputs: object, labels: Tensor, loss: Tensor) -> None:
        """Add the mean loss over a batch's counted labels; it is ignored if no label counts."""
        count: Tensor | int = len(labels)
        loss_sum = loss * count
        if _are_tokens(labels):
            count = num_counted(labels)
            loss_sum = torch.where(count > 0, loss.double() * count, 0.0)
        self.counts.append(count)
        self.losses.append(loss_sum)
        if isinstance(outputs, Tensor):
            self.correct.append((outputs.argmax(dim=-1) == labels).sum())

    def evaluation(self) -> Evaluation | None:
        total = int(sum(self.counts))
        if total == 0:
            return None
        loss = float(torch.stack(self.losses).sum()) / total
        if self.correct:
            return Evaluation(loss, int(torch.stack(self.correct).sum()) / total, None)
        return Evaluation(loss, None, _exp(loss))


def _exp(value: float) -> float:
    """Exponential of a value; infinite if it exceeds a float, above about 709."""
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf
