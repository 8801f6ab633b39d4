"""How many bytes of a message are not tensor data: the public safetensors format, counted without writing it.

Format: https://github.com/huggingface/safetensors#format (length prefix, JSON header padded to eight bytes, tensors).
"""

import json
from functools import lru_cache

import torch

from heron.errors import MessageError
from heron.wire.layout import INTEGERS, Layout

Signature = tuple[tuple[str, torch.dtype, tuple[int, ...]], ...]
"""Name, dtype and shape of every tensor of a message but its integers."""

LENGTH_PREFIX_BYTES = 8
METADATA_KEY = "heron"
_ALIGNMENT_BYTES = 8
VERSION = 1

DTYPES = {
    torch.int64: "I64",
    torch.float64: "F64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""The dtypes that travel and their names in the header, in the order in which the format's writer stores them."""
_RANKS = {dtype: rank for rank, dtype in enumerate(DTYPES)}


def metadata_text(layout: Layout) -> str:
    """The one metadata entry of a message: a constant of its type."""
    return json.dumps({"type": layout.tag, "version": VERSION}, separators=(",", ":"))


@lru_cache(maxsize=256)
def framing_bytes(layout: Layout, signature: Signature) -> int:
    """Length prefix, JSON header with its padding, and the integers of a message.

    Args:
        layout: its type.
        signature: its tensors.

    Raises:
        MessageError: if a dtype does not travel or a name is not Unicode text.
    """
    entries = [*signature, (INTEGERS, torch.int64, (len(layout.integers),))]
    for name, dtype, _ in entries:
        check_dtype(name, dtype)
    # Offsets are written with as many digits as they need, so the order of the tensors decides the header's length.
    entries.sort(key=lambda entry: (_RANKS[entry[1]], entry[0]))
    header: dict[str, object] = {"__metadata__": {METADATA_KEY: metadata_text(layout)}}
    offset = 0
    for name, dtype, shape in entries:
        stop = offset + dtype.itemsize * torch.Size(shape).numel()
        header[name] = {"dtype": DTYPES[dtype], "shape": shape, "data_offsets": (offset, stop)}
        offset = stop
    try:
        length = len(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode())
    except UnicodeEncodeError as error:
        raise MessageError(f"expected tensor names in Unicode, found one that is not ({error.reason})") from error
    padded = -(-length // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
    return LENGTH_PREFIX_BYTES + padded + len(layout.integers) * torch.int64.itemsize


def check_dtype(name: str, dtype: torch.dtype) -> None:
    """Refuse a tensor that cannot travel.

    Raises:
        MessageError: if its dtype is not one of `DTYPES`.
    """
    if dtype not in DTYPES:
        raise MessageError(
            f"tensor {name[:80]!r}: expected one of {', '.join(DTYPES.values())}, found {dtype}; convert it"
        )
