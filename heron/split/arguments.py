"""Checks of arguments that have a wrong type or range."""

from typing import Any

from torch import nn

from heron.errors import ConfigError, SplitError
from heron.ranges import shown
from heron.split.model import SplitModel


def check_count(name: str, value: Any, minimum: int = 1) -> None:
    """Refuse a value that is not an integer of at least `minimum`.

    Raises:
        SplitError: naming the argument, the range and the value.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise SplitError(f"expected {name} to be an integer of at least {minimum}, found {value!r}")


def check_split(split: Any) -> None:
    """Refuse a network that is not cut.

    Raises:
        SplitError: with what to do.
    """
    if not isinstance(split, SplitModel):
        kind = "network that is not cut, a " if isinstance(split, nn.Module) else ""
        raise SplitError(
            f"split: expected a network in two parts, a heron.split.SplitModel, found a {kind}{_name(split)}; cut it "
            f"first: heron.split.cut(network, after=..., example=..., auxiliary=...)"
        )


def check_criterion(criterion: Any) -> None:
    """Refuse a criterion that cannot be called with outputs and labels.

    Raises:
        ConfigError: with what to do.
    """
    if isinstance(criterion, type):
        name = criterion.__name__
        raise ConfigError(f"criterion: expected a function of outputs and labels, found the class {name}; use {name}()")
    if not callable(criterion):
        raise ConfigError(
            f"criterion: expected a function of outputs and labels, found {shown(criterion)}; use e.g. "
            f"torch.nn.functional.cross_entropy"
        )


def _name(value: Any) -> str:
    return f"class {value.__name__}" if isinstance(value, type) else type(value).__name__
