"""Codes of a quantiser as bytes: as many to a byte as fit, as digits of a number below 256, the first the lowest."""

from typing import Any

import numpy as np

from heron.arrays import namespace
from heron.wire.payload import CODES_PER_BYTE, FLOATS, LEVELS


def code_bytes(num_elements: int, codec: str) -> int:
    """Return the number of bytes of so many codes or floats."""
    if codec in LEVELS:
        return -(-num_elements // CODES_PER_BYTE[codec])
    return num_elements * np.dtype(FLOATS[codec]).itemsize


def cast(values: Any, dtype: str, *, copy: bool | None = None) -> Any:
    """Return values in another element type, of the same kind of array."""
    xp = namespace(values)
    return xp.asarray(values, dtype=getattr(xp, dtype), copy=copy)


def join_codes(codes: Any, codec: str) -> Any:
    """Join codes, shape (number of codes,), into bytes."""
    base, per_byte = LEVELS[codec] + 1, CODES_PER_BYTE[codec]
    if per_byte == 1:
        return codes
    joined = cast(codes[::per_byte], "uint8", copy=True)
    for place in range(1, per_byte):
        part = codes[place::per_byte]
        joined[: len(part)] += part * base**place
    return joined


def separate_codes(joined: Any, codec: str) -> Any:
    """Inverse of `join_codes`; the last byte may hold more codes than there were."""
    base, per_byte = LEVELS[codec] + 1, CODES_PER_BYTE[codec]
    if per_byte == 1:
        return joined
    digits = [joined // base**place % base for place in range(per_byte)]
    return namespace(joined).stack(digits, axis=1).reshape(-1)
