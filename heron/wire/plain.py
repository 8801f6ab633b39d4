"""Settings as plain values and back: dictionaries, lists and numbers that JSON can hold, checked when they are read.

What is read may be a stranger's. Every key must be there and none be unknown, every value of its type and in its range.
"""

import dataclasses
from collections.abc import Mapping
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from heron.errors import MessageError
from heron.ranges import MisfitError, fitting

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """Turn a dataclass into plain values, all that it contains included.

    Args:
        value: a dataclass, a tuple, a mapping from text, or a plain value.

    Examples:
        >>> from heron.wire.groups import Client
        >>> to_plain(Client(batch_size=8))["batch_size"]
        8
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
        >>> from_plain(Smashed, to_plain(Smashed(codec="int8")), "smashed").codec
        'int8'
    """
    if not isinstance(value, dict):
        raise _refusal(where, f"expected a table, found {' '.join(repr(value).split())[:80]}")
    hints = get_type_hints(kind, include_extras=True)
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    odd = sorted(value.keys() - set(names), key=str) or [name for name in names if name not in value]
    if odd:
        state = "unknown" if odd[0] in value else "absent"
        raise MessageError(f"{where}: expected the keys {', '.join(names)}, found {str(odd[0])[:80]!r} {state}")
    return kind(**{name: _read(hints[name], value[name], f"{where}.{name}") for name in names})


def _read(hint: Any, value: Any, where: str) -> Any:
    """Return a value as its type says, or refuse it."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return from_plain(hint, value, where)
    if value is not None and get_origin(hint) in (Union, UnionType):
        table = next((kind for kind in get_args(hint) if dataclasses.is_dataclass(kind)), None)
        if isinstance(table, type):
            return from_plain(table, value, where)
    if get_origin(hint) is tuple and isinstance(value, list):
        (kind, _) = get_args(hint)
        return tuple(_read(kind, item, f"{where}[{index}]") for index, item in enumerate(value))
    try:
        return fitting(hint, value)
    except MisfitError as misfit:
        raise _refusal(where, str(misfit)) from None


def _refusal(where: str, reason: str) -> MessageError:
    return MessageError(f"{where}: {reason}; both sides need the same version of heron")
