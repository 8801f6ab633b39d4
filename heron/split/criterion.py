"""The loss of a network: a mean over the labels of a batch that count, and where it can, a loss for each example.

`B` examples of a batch.
"""

import copy
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from heron.data.batch import IGNORED
from heron.errors import ConfigError
from heron.split.fakes import has_values

Criterion = Callable[[Any, Tensor], Tensor]
"""Mean loss over the examples of a batch: (outputs of B examples, labels of B examples) -> shape ()."""


class MeanLoss:
    """A criterion that knows what its mean is over: labels that are left out, and weights of classes.

    A label that is left out has no share in a loss, in the mean over batches, or in the mean over micro-batches. It is
    the `ignore_index` of the criterion, as an attribute, a default or a bound argument; -100 for a criterion of one's
    own; and nothing for a loss of torch without one, such as `BCEWithLogitsLoss`. The same holds for the `weight` of
    the classes, which torch divides the mean by.

    Values narrower than float32 are compared in float32, because a narrow loss rounds off the differences that probes
    measure; unless the criterion has tensors of a narrow type itself.

    Args:
        criterion: mean loss over a batch.

    Attributes:
        criterion: the same.
        ignored: label that is left out; None for none.
    """

    def __init__(self, criterion: Criterion) -> None:
        self.criterion = criterion
        self.ignored = _ignored(criterion)
        self._class_weights: Tensor | None = _bound(criterion, "weight") if takes_classes(criterion) else None
        self._compares_in_single = not any(map(_is_narrow, _tensors_of(criterion)))

    def __call__(self, outputs: Any, labels: Tensor) -> Tensor:
        """Compute the mean loss, shape (); 0, with a gradient of 0, where no label counts."""
        loss = self.unguarded(outputs, labels)
        counted = None if self.all_count(labels) else self.counted(labels)
        return loss if counted is None else torch.where(counted.any(), loss, 0.0)

    def unguarded(self, outputs: Any, labels: Tensor) -> Tensor:
        """Compute what the criterion returns, whatever that is and whether or not a label counts."""
        return self.criterion(*self._in_single(outputs, labels))

    def all_count(self, labels: Tensor) -> bool:
        """Return whether every label counts, as far as that is known without waiting for a device."""
        if self.ignored is None or labels.dtype.is_floating_point:
            return True
        if labels.device.type != "cpu" or not has_values(labels):
            return False
        return not len((labels.numpy() == self.ignored).nonzero()[0])  # the fastest of many ways, asked in every step

    def counted(self, labels: Tensor) -> Tensor | None:
        """Return which labels count, of their shape; None where all do, whatever they are."""
        return None if self.ignored is None or labels.dtype.is_floating_point else labels != self.ignored

    def weight(self, labels: Tensor) -> Tensor | int:
        """Return the weight of a batch's mean among other batches: the number of its labels that count.

        Args:
            labels: shape (B, ...).

        Returns:
            Number of integer labels that count, shape (); or the sum of their classes' weights. Else B.
        """
        each = self._weights(labels)
        return len(labels) if each is None else each.sum()

    def share(self, part: Tensor, whole: Tensor) -> float | Tensor:
        """Return the weight of a micro-batch's mean in the batch's mean.

        Args:
            part: labels of the micro-batch.
            whole: labels of the batch.
        """
        if len(part) == len(whole):
            return 1.0
        own, everything = self.weight(part), self.weight(whole)
        if not isinstance(own, Tensor) or not isinstance(everything, Tensor):
            return len(part) / len(whole)
        # The precision that a quotient of Python numbers has, as long as a label is one number.
        own = own.double() if part.dim() == 1 else own
        return own / torch.where(everything > 0, everything, 1)

    def losses(self, outputs: Any, labels: Tensor) -> Tensor:
        """Compute the mean loss of every example over its labels that count, shape (B,); 0 where none does.

        Raises:
            ConfigError: if the criterion gives a mean alone.
        """
        each, weights = _unreduced(self.criterion)(*self._in_single(outputs, labels)), self._weights(labels)
        if weights is None:
            return each.flatten(1).mean(1) if each.dim() > 1 else each
        totals = _summed(weights)
        return _summed(each) / torch.where(totals > 0, totals, 1)

    def _in_single(self, *values: Any) -> tuple[Any, ...]:
        return tuple(value.float() if self._compares_in_single and _is_narrow(value) else value for value in values)

    def _weights(self, labels: Tensor) -> Tensor | None:
        """Weight of each label in the mean, of the labels' shape; None where all count alike."""
        counted = self.counted(labels)
        if counted is None or self._class_weights is None:
            return counted
        return torch.where(counted, self._class_weights[torch.where(counted, labels, 0)], 0.0)


def _summed(values: Tensor) -> Tensor:
    """Sum the values of each example, shape (B, ...) to (B,); an export follows this where it cannot follow reshape."""
    return values.flatten(1).sum(1) if values.dim() > 1 else values


def scaled(loss: Tensor, share: float | Tensor) -> Tensor:
    """Multiply a loss by its share of a batch; it keeps its type, and is the same one if the share is the whole."""
    if isinstance(share, float) and share == 1.0:
        return loss
    return loss * (share.to(loss.dtype) if isinstance(share, Tensor) else share)


def takes_classes(criterion: Criterion) -> bool:
    """Return whether integer labels of a criterion are surely classes, over dimension 1 of the outputs.

    That is so for the losses of torch that have an `ignore_index`: cross-entropy and negative log-likelihood.
    """
    return is_torchs(criterion) and isinstance(_bound(criterion, "ignore_index"), int)


def is_torchs(criterion: Criterion) -> bool:
    """Return whether a criterion is a loss of torch, a module or a function, with or without bound arguments."""
    if isinstance(criterion, partial):
        return is_torchs(criterion.func)
    module = type(criterion).__module__ if isinstance(criterion, nn.Module) else getattr(criterion, "__module__", None)
    return (module or "").startswith("torch.")


def name_of(criterion: Criterion) -> str:
    """Return the name of a criterion for errors."""
    if isinstance(criterion, partial):
        return name_of(criterion.func)
    return getattr(criterion, "__name__", type(criterion).__name__)


def _is_narrow(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.dtype.itemsize < 4


def _tensors_of(criterion: Criterion) -> list[Any]:
    """Return the tensors that a criterion has, such as weights of the classes."""
    if isinstance(criterion, partial):
        return [*criterion.args, *criterion.keywords.values(), *_tensors_of(criterion.func)]
    return [*criterion.parameters(), *criterion.buffers()] if isinstance(criterion, nn.Module) else []


def _ignored(criterion: Criterion) -> int | None:
    found = _bound(criterion, "ignore_index")
    if isinstance(found, int):
        return found
    return None if is_torchs(criterion) else IGNORED


def _bound(criterion: Criterion, name: str) -> Any:
    """Return what a criterion has for one of torch's arguments; None where it has no such argument."""
    if isinstance(criterion, partial):
        return criterion.keywords[name] if name in criterion.keywords else _bound(criterion.func, name)
    if isinstance(criterion, nn.Module):
        return getattr(criterion, name, None)
    default = getattr(_parameters(criterion).get(name), "default", None)
    return None if default is inspect.Parameter.empty else default


def _parameters(criterion: Criterion) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(criterion).parameters)
    except ValueError:  # a function of C
        return {}


def _unreduced(criterion: Criterion) -> Criterion:
    """Return the criterion with a loss for each label in place of their mean."""
    if isinstance(criterion, nn.Module) and isinstance(getattr(criterion, "reduction", None), str):
        unreduced = copy.copy(criterion)
        unreduced.__dict__["reduction"] = "none"
        return unreduced
    if "reduction" not in _parameters(criterion):
        raise ConfigError(
            f"expected a criterion with a parameter reduction where losses of single examples are needed, found "
            f"{name_of(criterion)}; give it reduction='none', as in torch.nn.functional.cross_entropy"
        )
    reduced: Callable[..., Tensor] = criterion
    return partial(reduced, reduction="none")
