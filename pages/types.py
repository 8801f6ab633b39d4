"""Types and values of settings in words."""

import math
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, Unit

_PLAIN = {int: "integer", float: "number", str: "text", bool: "`true` or `false`"}
_POWERS: dict[Any, str] = {2**31: "2^31", 2**63: "2^63", 2**20: "2^20"}


def type_text(hint: Any) -> str:
    """Describe a type with its range.

    Args:
        hint: annotation of a setting.

    Returns:
        Markdown, e.g. "integer in [1, 2^31)".
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        *most, last = map(value_text, arguments)
        return f"{', '.join(most)} or {last}" if most else last
    if origin in (Union, UnionType):
        return ", or ".join(map(type_text, arguments))
    if origin is tuple:
        item = type_text(arguments[0]) if get_origin(arguments[0]) is Annotated else "table"
        return f"list of {item.replace('integer', 'integers', 1).replace('table', 'tables', 1)}"
    if origin is Annotated:
        kind, *rules = arguments
        if any(isinstance(rule, Unit) for rule in rules):
            return "number of bytes, or a size such as `64MiB`"
        return f"{_PLAIN[kind]} {_range(rules)}".strip()
    return _PLAIN[hint]


def value_text(value: Any) -> str:
    """Write a value as TOML has it.

    Args:
        value: a plain value.

    Returns:
        Markdown: code, or a word where code would be empty.
    """
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value in ("", ()):
        return "empty"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _range(rules: list[Any]) -> str:
    """An interval, or one bound where the other is not a number that anybody meets."""
    low, high = "(-inf", "inf)"
    for rule in rules:
        if isinstance(rule, Ge):
            low = f"[{rule.ge}"
        elif isinstance(rule, Gt):
            low = f"({rule.gt}"
        elif isinstance(rule, Le):
            high = f"{rule.le}]"
        elif isinstance(rule, Lt):
            high = f"{_POWERS.get(rule.lt, rule.lt)})"
    if math.inf in [getattr(rule, "lt", 0) for rule in rules]:
        return f"above {low[1:]}" if low[0] == "(" else f"of at least {low[1:]}"
    return f"in {low}, {high}"
