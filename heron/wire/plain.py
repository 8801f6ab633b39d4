"""Settings as plain values and back: dictionaries, lists and numbers that JSON can hold, checked when they are read.

What is read may be a stranger's. Every key must be there and none be unknown, every value of its type and in its range.
"""

import dataclasses
import operator
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from heron.errors import MessageError

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """Turn a dataclass into plain values, all that it contains included.

    Args:
        value: a dataclass, a tuple, a mapping from text, or a plain value.

    Examples:
        >>> from heron.wire.groups import Smashed
        >>> to_plain(Smashed(codec="int8"))
        {'codec': 'int8', 'zstd': False}
    """
    if dataclasses.is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    return value


def from_plain(kind: type[T], value: Any, where: str) -> T:
    """Read a dataclass from plain values.

    Args:
        kind: the dataclass.
        value: what `to_plain` returned, or a stranger's.
        where: name of the value, for messages.

    Raises:
        MessageError: naming the first key that is unknown, absent, of another type or out of range.

    Examples:
        >>> from heron.wire.groups import Smashed
        >>> from_plain(Smashed, {"codec": "int8", "zstd": False}, "smashed")
        Smashed(codec='int8', zstd=False)
    """
    if not isinstance(value, dict):
        raise _refusal(where, "a table", value)
    hints = get_type_hints(kind, include_extras=True)
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    odd = sorted(value.keys() - set(names), key=str) or [name for name in names if name not in value]
    if odd:
        state = "unknown" if odd[0] in value else "absent"
        raise MessageError(f"{where}: expected the keys {', '.join(names)}, found {str(odd[0])[:80]!r} {state}")
    return kind(**{name: _checked(hints[name], value[name], f"{where}.{name}") for name in names})


def _checked(hint: Any, value: Any, where: str) -> Any:
    """Return a value as its type says, or refuse it."""
    origin = get_origin(hint)
    read = _READERS.get(origin)
    if read is not None:
        return read(get_args(hint), value, where)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return from_plain(hint, value, where)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise _refusal(where, getattr(hint, "__name__", str(hint)), value)
    return value


def _in_range(arguments: tuple[Any, ...], value: Any, where: str) -> Any:
    """Read an `Annotated` type: a type, then bounds."""
    kind, *bounds = arguments
    checked = _checked(kind, value, where)
    for bound in bounds:
        _check_bound(bound, checked, where)
    return checked


def _chosen(choices: tuple[Any, ...], value: Any, where: str) -> Any:
    """Read a `Literal`."""
    if not any(value == choice and type(value) is type(choice) for choice in choices):
        raise _refusal(where, f"one of {', '.join(map(str, choices))}", value)
    return value


def _items(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    """Read a `tuple[kind, ...]`."""
    if not isinstance(value, list):
        raise _refusal(where, "a list", value)
    return tuple(_checked(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(value))


def _first_that_fits(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    problems = []
    for kind in kinds:
        try:
            return _checked(kind, value, where)
        except MessageError as error:
            problems.append(error)
    raise problems[0]


_READERS: dict[Any, Callable[[tuple[Any, ...], Any, str], Any]] = {
    Annotated: _in_range,
    Literal: _chosen,
    Union: _first_that_fits,
    types.UnionType: _first_that_fits,
    tuple: _items,
}


def _check_bound(bound: Any, value: Any, where: str) -> None:
    """Refuse a value outside its range; NaN is outside of every one."""
    limit, sign = next(((getattr(bound, key), sign) for key, sign in _SIGNS if hasattr(bound, key)), (None, ""))
    if sign and not _HOLDS[sign](value, limit):
        raise _refusal(where, f"a value {sign} {limit}", value)


_SIGNS = (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))
_HOLDS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
}


def _refusal(where: str, expected: str, found: Any) -> MessageError:
    shown = " ".join(repr(found).split())[:80]
    return MessageError(f"{where}: expected {expected}, found {shown}; both sides need the same version of heron")
