"""Sizes of memory as a person writes them."""

import re
from fractions import Fraction
from typing import Any

from heron.errors import ConfigError

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


def size(value: Any) -> Any:
    """A size of a configuration: a text is read, anything else is left for whoever validates it.

    Raises:
        ValueError: if the text is no size, as pydantic wants it, who knows the key.
    """
    try:
        return parse_bytes(value) if isinstance(value, str) else value
    except ConfigError as error:
        raise ValueError(str(error)) from None
