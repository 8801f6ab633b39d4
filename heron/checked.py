"""Dataclasses that cannot be made with a value of another type or out of range."""

from collections.abc import Callable, Hashable
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, cast, get_args, get_origin, get_type_hints

from heron.errors import ConfigError
from heron.ranges import SIGNS, MisfitError, fitting


class Checked:
    """Base of dataclasses that cannot be made with a value of another type or out of range.

    An integer becomes a float where one is expected, and a list a tuple; NumPy's numbers become Python's.

    Attributes:
        section: section of a configuration that such an object is, the first part of its keys; empty for none.
    """

    section = ""  # not annotated: it is no field of a dataclass

    def __init_subclass__(cls, section: str | None = None) -> None:
        """Set the name of the section; by default it is that of the base."""
        super().__init_subclass__()
        if section is not None:
            cls.section = section

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ConfigError: naming the first key that does not fit.
        """
        values, kind = vars(self), cast("Hashable", type(self))
        for name, hint, is_plainly_fitting in _types_of(kind):
            value = values[name]
            if is_plainly_fitting(value):
                continue
            try:
                fit = fitting(hint, value)
            except MisfitError as misfit:
                key = f"{self.section}.{name}" if self.section else name
                raise ConfigError(f"{key}: {misfit}") from None
            if fit is not value:
                object.__setattr__(self, name, fit)  # frozen for everybody else


@cache
def _types_of(kind: Any) -> tuple[tuple[str, Any, Callable[[Any], bool]], ...]:
    """Names and types of a dataclass's fields, and a fast check that passes most values that fit."""
    assert is_dataclass(kind)  # the base is for dataclasses
    hints = {name: hint for name, hint in get_type_hints(kind, include_extras=True).items() if hint is not Any}
    return tuple((one.name, hints[one.name], _fast_check(hints[one.name])) for one in fields(kind) if one.name in hints)


def _fast_check(hint: Any) -> Callable[[Any], bool]:
    """Make a check for values of exactly the right type; a value that it does not pass may still fit."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        choices = frozenset(arguments)
        return lambda value: type(value) is str and value in choices
    if origin is not Annotated:
        return lambda value: type(value) is hint
    kind, *bounds = arguments
    limits = [(compare, getattr(bound, key)) for bound in bounds for key, _, compare in SIGNS if hasattr(bound, key)]
    return lambda value: type(value) is kind and all(compare(value, limit) for compare, limit in limits)
