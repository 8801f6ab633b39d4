"""Measures of a model's quality next to its loss: the accuracy of classes, and measures of a user's own.

`B` examples of a batch, `C` classes.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from heron.errors import ConfigError
from heron.split.criterion import MeanLoss, takes_classes

Measure = Callable[[Any, Tensor], Tensor | float]
"""A number for a batch, or one for each of its examples: (outputs of B examples, their labels) -> shape () or (B,)."""

LOSS = "loss"


class Accuracy:
    """Number of labels whose class has the largest output, as far as labels are classes.

    Integer labels of shape (B, ...) are classes where outputs have one dimension more, of at least two sizes: dimension
    1, as in torch's cross-entropy, or the last one where only that fits. Where shapes fit both ways, only a criterion
    of torch tells which it is.

    Args:
        loss: the criterion, and labels that are left out.
    """

    def __init__(self, loss: MeanLoss) -> None:
        self._loss = loss
        self._first = takes_classes(loss.criterion)
        self._correct: list[Tensor] = []
        self._counts: list[Tensor] = []
        self._applies = True
        self._beyond: list[Tensor] = []

    def add(self, outputs: object, labels: Tensor) -> None:
        """Count a batch."""
        dimension = self._dimension_of_classes(outputs, labels)
        self._applies &= dimension is not None
        if dimension is None or not self._applies:
            return
        assert isinstance(outputs, Tensor)  # it has such a dimension
        counted = self._loss.counted(labels)
        counted = torch.ones_like(labels, dtype=torch.bool) if counted is None else counted
        self._correct.append(((outputs.argmax(dim=dimension) == labels) & counted).sum())
        self._counts.append(counted.sum())
        self._beyond.append((counted & ((labels < 0) | (labels >= outputs.shape[dimension]))).any())

    def value(self) -> float | None:
        """Return the share of labels that count, in [0, 1]; None where labels are no classes."""
        if not self._applies or not self._counts or bool(torch.stack(self._beyond).any()):
            return None
        count = int(torch.stack(self._counts).sum())
        return int(torch.stack(self._correct).sum()) / count if count else None

    def _dimension_of_classes(self, outputs: object, labels: Tensor) -> int | None:
        if not isinstance(outputs, Tensor) or labels.dtype.is_floating_point or outputs.dim() != labels.dim() + 1:
            return None
        sizes, last = outputs.shape, outputs.dim() - 1
        fitting = [place for place in range(1, last + 1) if sizes[:place] + sizes[place + 1 :] == labels.shape]
        if self._first:
            fitting = [place for place in fitting if place == 1]
        only = fitting[0] if len(fitting) == 1 else None
        return only if only in {1, last} and sizes[only] > 1 else None


class Means:
    """Means over examples of a user's measures.

    Args:
        measures: by name.
    """

    def __init__(self, measures: Mapping[str, Measure]) -> None:
        self._measures = measures
        self._sums: dict[str, list[Tensor]] = {name: [] for name in measures}
        self._num_examples = 0

    def add(self, outputs: object, labels: Tensor) -> None:
        """Count a batch."""
        self._num_examples += len(labels)
        for name, measure in self._measures.items():
            self._sums[name].append(mean_of(name, measure, outputs, labels) * len(labels))

    def values(self) -> dict[str, float]:
        """Return the means by name."""
        return {name: float(torch.stack(sums).sum()) / self._num_examples for name, sums in self._sums.items()}


def check_names(measures: Mapping[str, Measure]) -> None:
    """Refuse measures that have no name of their own, or are no functions.

    Args:
        measures: by name.

    Raises:
        ConfigError: with the name.
    """
    for name, measure in measures.items():
        if not isinstance(name, str) or not name.isidentifier() or name == LOSS:
            raise ConfigError(
                f"expected names of measures such as 'f1', found {name!r}; use letters, digits and underscores, and "
                f"not {LOSS!r}, which every row has"
            )
        if not callable(measure):
            raise ConfigError(
                f"measure {name!r}: expected a function of (outputs, labels), found {type(measure).__name__}; pass one"
            )


def mean_of(name: str, measure: Measure, outputs: object, labels: Tensor) -> Tensor:
    """Compute a measure of a batch, its mean over the examples if it has one for each, shape (), float64.

    Raises:
        ConfigError: if the measure raises, or returns no numbers.
    """
    try:
        return torch.as_tensor(measure(outputs, labels)).double().mean()
    except Exception as error:
        found = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(
            f"measure {name!r}: expected a number, or one for each of {len(labels)} examples, found {found}; make it a "
            f"function of (outputs, labels)"
        ) from error
