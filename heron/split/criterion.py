"""The loss of a network: a mean over the examples of a batch, and where it can, a loss for each example."""

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor

from heron.errors import ConfigError

Criterion = Callable[[Any, Tensor], Tensor]
"""Mean loss over the examples of a batch: (outputs of B examples, labels of B examples) -> shape ()."""


def per_example(criterion: Criterion) -> Criterion:
    """The criterion with a loss for each example, shape (B,), in place of their mean.

    Args:
        criterion: one that takes `reduction="none"`, as the losses of `torch.nn.functional` do.

    Returns:
        A function of the same arguments. Losses of several numbers an example are averaged over the example.

    Raises:
        ConfigError: if the criterion takes no `reduction`.
    """
    if "reduction" not in inspect.signature(criterion).parameters:
        name = getattr(criterion, "__name__", type(criterion).__name__)
        raise ConfigError(
            f"expected a criterion with a parameter reduction where losses of single examples are needed, found "
            f"{name}; give it reduction='none', as in torch.nn.functional.cross_entropy"
        )
    reduced: Callable[..., Tensor] = criterion

    def losses(outputs: Any, labels: Tensor) -> Tensor:
        each = reduced(outputs, labels, reduction="none")
        return each.flatten(1).mean(1) if each.dim() > 1 else each

    return losses
