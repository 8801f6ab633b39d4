"""Number of bytes of a message: the public safetensors format, counted without writing it."""

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from heron.arrays import name_of_dtype, numpy_dtype
from heron.errors import MessageError
from heron.wire.blob import DTYPES, check_dtype
from heron.wire.layout import INTEGERS, Layout, kind_of

Signature = tuple[tuple[str, Any, tuple[int, ...]], ...]
"""Name, element type and shape of every array of a message but its integers."""

LENGTH_PREFIX_BYTES = 8
METADATA_KEY = "heron"
_ALIGNMENT_BYTES = 8
_INTEGER_BYTES = 8
VERSION = 1
_RANKS = {dtype: rank for rank, dtype in enumerate(DTYPES)}


def metadata_text(layout: Layout) -> str:
    """The one metadata entry of a message: a constant of its type."""
    return json.dumps({"type": layout.tag, "version": VERSION}, separators=(",", ":"))


@lru_cache(maxsize=256)
def message_bytes(layout: Layout, signature: Signature) -> Mapping[str, int]:
    """Bytes of a message by kind; counted once for all messages with such arrays, of which a run has a few.

    Args:
        layout: its type.
        signature: its arrays.

    Returns:
        Bytes of each kind of array, and `framing` for length prefix, JSON header with its padding, and integers. It is
        shared: not to be changed.

    Raises:
        MessageError: if an element type does not travel or a name is not Unicode text.
    """
    sizes: dict[str, int] = {}
    for name, dtype, shape in signature:
        kind = kind_of(layout, name)
        sizes[kind] = sizes.get(kind, 0) + dtype.itemsize * math.prod(shape)
    named = [(name, name_of_dtype(dtype), shape) for name, dtype, shape in signature]
    return {**sizes, "framing": _framing_bytes(layout, named)}


def _framing_bytes(layout: Layout, named: list[tuple[str, str, tuple[int, ...]]]) -> int:
    entries = [*named, (INTEGERS, "int64", (len(layout.integers),))]
    for name, dtype, _ in entries:
        check_dtype(name, dtype)
    # Offsets are written with as many digits as they need, so the order of the arrays decides the header's length.
    entries.sort(key=lambda entry: (_RANKS[entry[1]], entry[0]))
    header: dict[str, object] = {"__metadata__": {METADATA_KEY: metadata_text(layout)}}
    offset = 0
    for name, dtype, shape in entries:
        stop = offset + numpy_dtype(dtype).itemsize * math.prod(shape)
        header[name] = {"dtype": DTYPES[dtype], "shape": shape, "data_offsets": (offset, stop)}
        offset = stop
    try:
        length = len(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode())
    except UnicodeEncodeError as error:
        raise MessageError(f"expected tensor names in Unicode, found one that is not ({error.reason})") from error
    padded = -(-length // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
    return LENGTH_PREFIX_BYTES + padded + len(layout.integers) * _INTEGER_BYTES
