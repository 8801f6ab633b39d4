"""Messages to bytes and back, in safetensors: nothing that is read can run code.

A message is one safetensors blob with a single metadata entry that names its type. Integers travel in an array, so
that the size of a message is a function of its type and shapes alone (docs/decisions/0002).
"""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heron.errors import MessageError
from heron.wire.blob import excerpt, load_arrays, save_arrays
from heron.wire.framing import LENGTH_PREFIX_BYTES, METADATA_KEY, VERSION, message_bytes, metadata_text
from heron.wire.layout import (
    INTEGERS,
    LAYOUTS,
    Layout,
    check_scalars,
    integer_array,
    layout_of,
    named_arrays,
)
from heron.wire.messages import Message

_MAX_HEADER_BYTES = 1 << 24
_BY_METADATA = {metadata_text(layout): layout for layout in LAYOUTS}


def encode(message: Message) -> bytes:
    """Encode a message.

    Arrays may be of any device, be views, or share memory; each travels whole, under its own name.

    Raises:
        MessageError: if an array's element type, layout or name does not travel, or a field is not what its type says.
    """
    layout = layout_of(message)
    integers = integer_array(layout, message)
    named = named_arrays(layout, message)
    check_scalars(layout, named)
    return save_arrays({**named, INTEGERS: integers}, {METADATA_KEY: metadata_text(layout)})


def decode(data: bytes, *, max_bytes: int | None = None) -> Message:
    """Decode a message; its NumPy arrays can be written and do not depend on `data` afterwards.

    Args:
        data: what `encode` made.
        max_bytes: refuse anything longer before looking at it; None for no limit.

    Raises:
        MessageError: if the bytes are too many, damaged, foreign, or not a complete message.
    """
    if max_bytes is not None and len(data) > max_bytes:
        raise MessageError(f"expected a message of at most {max_bytes} bytes, found {len(data)}")
    layout = _read_layout(data)
    return _assemble(layout, load_arrays(data))


def encoded_sizes(message: Message) -> dict[str, int]:
    """Bytes of the encoded message by kind, without encoding it; they sum to `len(encode(message))`.

    Returns:
        Bytes of each kind of array that the message holds (`smashed`, `labels`, `model`, `scalars`), and `framing`
        for everything else: length prefix, JSON header, padding, integers.

    Raises:
        MessageError: if an array's element type or name does not travel.
    """
    layout = layout_of(message)
    signature = [(name, array.dtype, array.shape) for name, array in named_arrays(layout, message).items()]
    return dict(message_bytes(layout, tuple(signature)))


def _read_layout(data: bytes) -> Layout:
    """The type named in the header, read before any array is."""
    length = int.from_bytes(data[:LENGTH_PREFIX_BYTES], "little")
    if length > min(len(data) - LENGTH_PREFIX_BYTES, _MAX_HEADER_BYTES):
        raise MessageError(f"expected an encoded message, found {len(data)} bytes that are cut short or foreign")
    try:
        header = json.loads(data[LENGTH_PREFIX_BYTES : LENGTH_PREFIX_BYTES + length].decode())
    except (ValueError, RecursionError) as error:
        raise MessageError("expected an encoded message, found foreign bytes without a JSON header") from error
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or len(metadata) != 1:
        raise MessageError("expected an encoded message with one metadata entry, found foreign bytes")
    ((key, text),) = metadata.items()
    # The entry is a constant of the type: compared as text, there is nothing to interpret and one way to write it.
    if key != METADATA_KEY or not isinstance(text, str) or text not in _BY_METADATA:
        found = excerpt(f"{key}: {text}") if isinstance(text, str) else type(text).__name__
        expected = f"one of {', '.join(layout.tag for layout in LAYOUTS)} in version {VERSION}"
        raise MessageError(f"expected {expected}, found {found!r}; both sides need the same version of heron")
    return _BY_METADATA[text]


def _assemble(layout: Layout, arrays: dict[str, NDArray[Any]]) -> Message:
    integers = arrays.pop(INTEGERS, None)
    if integers is None or integers.dtype != np.int64 or integers.shape != (len(layout.integers),):
        raise MessageError(f"{layout.tag}: expected {len(layout.integers)} int64 integers, found something else")
    values: list[int] = integers.tolist()
    if min(values) < 0:
        raise MessageError(f"{layout.tag}: expected integers >= 0, found {values}")
    fields: dict[str, Any] = dict(zip(layout.integers, values, strict=True))
    fields |= {field: {} for field in layout.mappings}
    for name, array in arrays.items():
        field, slash, entry = name.partition("/")
        if slash and field in layout.mappings:
            fields[field][entry] = array
        elif not slash and field in layout.arrays:
            fields[field] = array
        else:
            raise MessageError(f"{layout.tag}: expected no such tensor, found {excerpt(name)!r}")
    missing = [field for field in layout.arrays if field not in fields]
    if missing:
        raise MessageError(f"{layout.tag}: expected tensor {missing[0]!r}, found none")
    check_scalars(layout, arrays)
    return layout.message(**fields)
