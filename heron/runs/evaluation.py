"""Loss of the global model on a data set, with the measures that its labels have: accuracy, perplexity, a user's own.

`B` examples of a batch.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from heron.data import fetch, num_examples
from heron.runs.measures import LOSS, Accuracy, Means, Measure
from heron.split.criterion import Criterion, MeanLoss
from heron.tensors import as_tensor


@dataclass(frozen=True)
class Evaluation:
    """Result on one data set.

    Attributes:
        loss: mean loss over the labels that count.
        accuracy: share of labels that count whose class has the largest output, in [0, 1]; None where labels are no
            classes.
        perplexity: exp(loss), infinite if that exceeds a float; None for outputs other than tokens.
        measures: means over examples of a user's measures, by name.
    """

    loss: float
    accuracy: float | None
    perplexity: float | None
    measures: Mapping[str, float] = field(default_factory=dict)

    def metrics(self, split: str) -> dict[str, float | None]:
        """Entries of a row of metrics, e.g. `test_perplexity` and `test_loss`.

        JSON has neither infinity nor NaN: such a value is None, which means that the evaluation diverged. A row without
        the key was not evaluated, or labels have no such measure. A user's measure takes the place of one of that name.

        Args:
            split: name of the data set, the first part of each key.
        """
        judged = {"accuracy": self.accuracy, "perplexity": self.perplexity}
        known = {name: value for name, value in judged.items() if value is not None}
        values = {**known, LOSS: self.loss, **self.measures}
        return {f"{split}_{name}": value if math.isfinite(value) else None for name, value in values.items()}


@torch.no_grad()
def evaluate(
    model: nn.Module,
    dataset: Dataset[tuple[Tensor, ...]],
    criterion: Criterion,
    *,
    device: torch.device,
    batch_size: int = 500,
    max_tokens: int = 4096,
    measures: Mapping[str, Measure] | None = None,
) -> Evaluation | None:
    """Evaluate a model in evaluation mode, then restore its mode.

    Every batch is weighted by its labels that count (`MeanLoss`): all examples, or integer labels that are not left
    out. So the loss is that of one large batch, up to rounding.

    Args:
        model: maps inputs to outputs, a tensor or token outputs (`TokenLogits`).
        dataset: examples (input, label).
        criterion: mean loss over the labels of a batch that count.
        device: device of the computation.
        batch_size: number of examples fetched at a time, and per forward pass if a label is one number.
        max_tokens: number of labels per forward pass if an example has several integer ones, such as tokens or pixels,
            padding included; at least one example is computed.
        measures: further measures by name; each batch weighs as much as it has examples.

    Returns:
        The evaluation, or None if no label counts, e.g. for an empty data set.

    Raises:
        ConfigError: if a measure does not return numbers.
    """
    total = num_examples(dataset)
    sums = _Sums(MeanLoss(criterion), measures or {})
    was_training = model.training
    model.eval()
    try:
        for start in range(0, total, batch_size):
            batch = fetch(dataset, np.arange(start, min(start + batch_size, total)), device)
            for inputs, labels in _pieces(as_tensor(batch.inputs), as_tensor(batch.labels), max_tokens):
                outputs = model(inputs)
                sums.add(outputs, labels)
    finally:
        model.train(was_training)
    return sums.evaluation()


def _pieces(inputs: Tensor, labels: Tensor, max_tokens: int) -> Iterator[tuple[Tensor, Tensor]]:
    if not _are_many(labels):
        yield inputs, labels
        return
    size = max(1, max_tokens // max(1, labels[0].numel()))
    for start in range(0, len(labels), size):
        yield inputs[start : start + size], labels[start : start + size]


def _are_many(labels: Tensor) -> bool:
    """Return whether an example has several integer labels rather than one class or numbers to regress on."""
    return labels.dim() > 1 and not labels.dtype.is_floating_point


class _Sums:
    """Sums over batches, on the device until the end, so that no batch waits for the host."""

    def __init__(self, loss: MeanLoss, measures: Mapping[str, Measure]) -> None:
        self._loss = loss
        self._losses: list[Tensor] = []
        self._weights: list[Tensor | int] = []
        self._accuracy = Accuracy(loss)
        self._means = Means(measures)
        self._has_tokens = False

    def add(self, outputs: object, labels: Tensor) -> None:
        """Add a batch."""
        loss, weight = self._loss(outputs, labels), self._loss.weight(labels)
        self._losses.append((loss.double() if _are_many(labels) else loss) * weight)
        self._weights.append(weight)
        self._accuracy.add(outputs, labels)
        self._means.add(outputs, labels)
        self._has_tokens |= not isinstance(outputs, Tensor)

    def evaluation(self) -> Evaluation | None:
        total = float(sum(self._weights))
        if total == 0:
            return None
        loss = float(torch.stack(self._losses).sum()) / total
        perplexity = _exp(loss) if self._has_tokens else None
        return Evaluation(loss, self._accuracy.value(), perplexity, self._means.values())


def _exp(value: float) -> float:
    """Exponential of a value; infinite if it exceeds a float, above about 709."""
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf
