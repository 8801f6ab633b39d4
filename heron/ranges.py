"""Types of settings with the range of their values, and the check of a value against its type.

The check is written once, for every door: an object of settings cannot be made with another type or out of range, and
files, the command line, `heron.train` and messages refuse a value in the same words.
"""

import difflib
import math
import operator
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from numbers import Integral, Real
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, Unit

from heron.errors import ConfigError

PositiveInt = Annotated[int, Ge(1), Lt(2**31)]
NonNegativeInt = Annotated[int, Ge(0), Lt(2**31)]
PoolSize = Annotated[int, Ge(0), Le(2**20)]
Seed = Annotated[int, Ge(0), Lt(2**63)]
NumThreads = Annotated[int, Ge(1), Le(1024)]
# Bytes; a text such as `64MiB` is read.
NumBytes = Annotated[int, Ge(0), Lt(2**63), Unit("B")]
Probability = Annotated[float, Ge(0), Lt(1)]
Share = Annotated[float, Ge(0), Le(1)]
HalfShare = Annotated[float, Ge(0), Lt(0.5)]
PositiveFloat = Annotated[float, Gt(0), Lt(math.inf)]
NonNegativeFloat = Annotated[float, Ge(0), Lt(math.inf)]

_UNITS: dict[str, int] = {
    "": 1,
    "b": 1,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
}
_SIZE = re.compile(r"([0-9]{1,18})(\.[0-9]{1,18})? ?([a-z]*)", re.IGNORECASE)
_SHOWN = 120
_NAMES = {int: "an integer", float: "a number", bool: "true or false", str: "a text"}
_MACHINE = 2**31  # limits from here on are those of a machine's integers, of interest only where they are exceeded
SIGNS = (
    ("gt", "above ", operator.gt),
    ("ge", "of at least ", operator.ge),
    ("le", "of at most ", operator.le),
    ("lt", "below ", operator.lt),
)
_BRACKETS = {"above ": "(", "of at least ": "[", "of at most ": "]", "below ": ")"}


class MisfitError(ValueError):
    """A value that is not of its type, or out of its range; the message says what was expected and what was found."""


def parse_bytes(text: str) -> int:
    """Bytes of a size such as `64MiB`, `1.5 GB` or `67108864`; a fraction of a byte is dropped.

    Args:
        text: a number, and B, KiB, MiB, GiB (powers of 1024), KB, MB or GB (powers of 1000); nothing for bytes.

    Raises:
        ConfigError: if it is something else.

    Examples:
        >>> parse_bytes("1.5KiB")
        1536
    """
    match = _SIZE.fullmatch(text.strip())
    unit = None if match is None else _UNITS.get(match[3].lower())
    if match is None or unit is None:
        raise ConfigError(f"expected a size in bytes such as 64MiB, 1.5GB or 67108864, found {text!r}")
    return int(Fraction(match[1] + (match[2] or "")) * unit)


def fitting(hint: Any, value: Any) -> Any:
    """Return a value as its type says.

    Args:
        hint: a plain type, a class, or one of `Annotated`, `Literal`, `Union` and `tuple[kind, ...]` of such.
        value: what was given.

    Raises:
        MisfitError: if it is not of the type, or out of its range.

    Examples:
        >>> fitting(PositiveFloat, 1), fitting(NumBytes, "1KiB")
        (1.0, 1024)
        >>> fitting(PositiveInt, 2.5)
        Traceback (most recent call last):
        heron.ranges.MisfitError: expected an integer of at least 1, found 2.5
    """
    if isinstance(value, str) and _counts_bytes(hint, value):
        try:
            value = parse_bytes(value)
        except ConfigError as error:
            raise MisfitError(str(error)) from None
    try:
        return _fit(hint, value)
    except (ValueError, OverflowError):
        expected = f"expected {expectation(hint, value)}, found {shown(value)}"
        raise MisfitError(f"{expected}{_nearest(hint, value)}") from None


def _counts_bytes(hint: Any, text: str) -> bool:
    """Return whether a text stands for a number of bytes, and is none of the words that a type allows beside them."""
    if get_origin(hint) in (Union, UnionType):
        words = [word for part in get_args(hint) if get_origin(part) is Literal for word in get_args(part)]
        return text not in words and any(_counts_bytes(part, text) for part in get_args(hint))
    return Unit("B") in getattr(hint, "__metadata__", ())


def expectation(hint: Any, found: Any = None) -> str:
    """Say in words what a type and its range allow.

    Args:
        hint: as for `fitting`.
        found: the value that does not fit, if there is one.

    Examples:
        >>> expectation(PositiveInt), expectation(Probability), expectation(Literal["mean", "median"])
        ('an integer of at least 1', 'a number in [0, 1)', 'one of mean, median')
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        finite = "a finite number" if Lt(math.inf) in arguments else expectation(arguments[0])
        return f"{finite} {_range(arguments[1:], found)}".strip()
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}" if len(arguments) > 1 else repr(arguments[0])
    if origin in (Union, UnionType):
        return " or ".join(expectation(argument, found) for argument in arguments)
    if origin is tuple:
        return f"a list, and in it {expectation(arguments[0])}"
    return _NAMES.get(hint) or f"an object of {getattr(hint, '__name__', hint)}"


def _range(bounds: Sequence[Any], found: Any) -> str:
    limits = [(words, getattr(bound, key)) for bound in bounds for key, words, _ in SIGNS if hasattr(bound, key)]
    exceeded = isinstance(found, int | float) and found >= _MACHINE
    limits = [(words, limit) for words, limit in limits if limit < _MACHINE or (exceeded and limit != math.inf)]
    if len(limits) == 2:
        (low, least), (high, most) = limits
        return f"in {_BRACKETS[low]}{least}, {most}{_BRACKETS[high]}"
    return " ".join(f"{words}{limit}" for words, limit in limits)


def _fit(hint: Any, value: Any) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        fit = _fit(arguments[0], value)
        if not all(_holds(bound, fit) for bound in arguments[1:]):
            raise ValueError
        return fit
    if origin is Literal:
        return _chosen(arguments, value)
    if origin in (Union, UnionType):
        return _first_that_fits(arguments, value)
    if origin is tuple:
        return _items(arguments[0], value)
    return _plain(hint, value)


def _chosen(choices: Sequence[Any], value: Any) -> Any:
    for choice in choices:
        if isinstance(value, type(choice)) and value == choice:
            return choice
    raise ValueError


def _plain(kind: type, value: Any) -> Any:
    if kind is bool or not isinstance(value, bool):
        if kind is int and isinstance(value, Integral):
            return int(value)
        if kind is float and isinstance(value, Real):
            return float(value)
        if isinstance(value, kind):
            return value
    raise ValueError


def _first_that_fits(kinds: Sequence[Any], value: Any) -> Any:
    for kind in kinds:
        try:
            return _fit(kind, value)
        except ValueError:
            continue
    raise ValueError


def _items(kind: Any, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError  # noqa: TRY004 - one kind of misfit
    items = tuple(_fit(kind, item) for item in value)
    return value if isinstance(value, tuple) and all(map(operator.is_, items, value)) else items


def _holds(bound: Any, value: Any) -> bool:
    """Whether a value is within a bound; NaN is within none, and what is no bound holds for all."""
    return all(compare(value, getattr(bound, key)) for key, _, compare in SIGNS if hasattr(bound, key))


def _nearest(hint: Any, value: Any) -> str:
    choices = get_args(hint) if get_origin(hint) is Literal else ()
    near = difflib.get_close_matches(value, map(str, choices), n=1, cutoff=0.5) if isinstance(value, str) else []
    return f"; did you mean {near[0]!r}?" if near else ""


def shown(value: Any) -> str:
    """Show what was found on one short line; of a table only that it is one."""
    if isinstance(value, Mapping):
        return "a table"
    text = " ".join(repr(value).split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
