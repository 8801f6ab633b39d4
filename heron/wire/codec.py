"""Messages to bytes and back, in safetensors: nothing that is read can run code.

A message is one safetensors blob with a single metadata entry that names its type. Integers travel in a tensor, so
that the size of a message is a function of its type and shapes alone (docs/decisions/0002).
"""

import json
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from heron.errors import MessageError
from heron.wire.framing import LENGTH_PREFIX_BYTES, METADATA_KEY, VERSION, check_dtype, framing_bytes, metadata_text
from heron.wire.layout import (
    INTEGERS,
    LAYOUTS,
    Layout,
    check_scalars,
    integer_tensor,
    kind_of,
    layout_of,
    named_tensors,
)
from heron.wire.messages import Message

_MAX_HEADER_BYTES = 1 << 24
_BY_METADATA = {metadata_text(layout): layout for layout in LAYOUTS}


def encode(message: Message) -> bytes:
    """Encode a message.

    Tensors may lie on any device, be views, or share memory; each travels whole, under its own name.

    Raises:
        MessageError: if a tensor's dtype, layout or name does not travel, or a field is not what its type says.
    """
    layout = layout_of(message)
    integers = integer_tensor(layout, message)
    named = named_tensors(layout, message)
    check_scalars(layout, named)
    tensors = _plain(named)
    tensors[INTEGERS] = integers
    try:
        return save(tensors, metadata={METADATA_KEY: metadata_text(layout)})
    except UnicodeEncodeError as error:
        raise MessageError(f"expected tensor names in Unicode, found one that is not ({error.reason})") from error


def decode(data: bytes, *, max_bytes: int | None = None) -> Message:
    """Decode a message; the tensors lie on the CPU and do not depend on `data` afterwards.

    Args:
        data: what `encode` made.
        max_bytes: refuse anything longer before looking at it; None for no limit.

    Raises:
        MessageError: if the bytes are too many, damaged, foreign, or not a complete message.
    """
    if max_bytes is not None and len(data) > max_bytes:
        raise MessageError(f"expected a message of at most {max_bytes} bytes, found {len(data)}")
    layout = _read_layout(data)
    try:
        tensors = load(data)
    # The reader does not say what it raises; these bytes are a stranger's, so all that bad input can cause is listed.
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, OverflowError) as error:
        raise MessageError(f"expected an encoded message, found damaged bytes ({_excerpt(error)})") from error
    return _assemble(layout, tensors)


def encoded_sizes(message: Message) -> dict[str, int]:
    """Bytes of the encoded message by kind, without encoding it; they sum to `len(encode(message))`.

    Returns:
        Bytes of each kind of tensor that the message holds (`smashed`, `labels`, `model`, `scalars`), and `framing`
        for everything else: length prefix, JSON header, padding, integers.

    Raises:
        MessageError: if a tensor's dtype or name does not travel.
    """
    layout = layout_of(message)
    sizes: dict[str, int] = {}
    signature: list[tuple[str, torch.dtype, tuple[int, ...]]] = []
    for name, tensor in named_tensors(layout, message).items():
        kind = kind_of(layout, name)
        sizes[kind] = sizes.get(kind, 0) + tensor.numel() * tensor.element_size()
        signature.append((name, tensor.dtype, tuple(tensor.shape)))
    sizes["framing"] = framing_bytes(layout, tuple(signature))
    return sizes


def _read_layout(data: bytes) -> Layout:
    """The type named in the header, read before any tensor is."""
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
        found = _excerpt(f"{key}: {text}") if isinstance(text, str) else type(text).__name__
        expected = f"one of {', '.join(layout.tag for layout in LAYOUTS)} in version {VERSION}"
        raise MessageError(f"expected {expected}, found {found!r}; both sides need the same version of heron")
    return _BY_METADATA[text]


def _assemble(layout: Layout, tensors: dict[str, Tensor]) -> Message:
    integers = tensors.pop(INTEGERS, None)
    if integers is None or integers.dtype != torch.int64 or integers.shape != (len(layout.integers),):
        raise MessageError(f"{layout.tag}: expected {len(layout.integers)} int64 integers, found something else")
    values = integers.tolist()
    if min(values) < 0:
        raise MessageError(f"{layout.tag}: expected integers >= 0, found {values}")
    fields: dict[str, Any] = dict(zip(layout.integers, values, strict=True))
    fields |= {field: {} for field in layout.mappings}
    for name, tensor in tensors.items():
        field, slash, entry = name.partition("/")
        if slash and field in layout.mappings:
            fields[field][entry] = tensor
        elif not slash and field in layout.tensors:
            fields[field] = tensor
        else:
            raise MessageError(f"{layout.tag}: expected no such tensor, found {_excerpt(name)!r}")
        _check_received(name, tensor)
    missing = [field for field in layout.tensors if field not in fields]
    if missing:
        raise MessageError(f"{layout.tag}: expected tensor {missing[0]!r}, found none")
    check_scalars(layout, tensors)
    return layout.message(**fields)


def _check_received(name: str, tensor: Tensor) -> None:
    check_dtype(name, tensor.dtype)
    # A bool of any byte but 0 and 1 is undefined behaviour in every kernel that reads it.
    if tensor.dtype == torch.bool and tensor.numel() and int(tensor.view(torch.uint8).max()) > 1:
        raise MessageError(f"tensor {_excerpt(name)!r}: expected booleans of byte 0 or 1, found another byte")


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU, contiguous, each alone in its storage: safetensors refuses tensors that share one."""
    plain: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():
        check_dtype(name, tensor.dtype)
        if tensor.layout != torch.strided or tensor.is_meta:
            raise MessageError(f"tensor {name!r}: expected a dense tensor with data, found {tensor.layout}; convert it")
        # A lazily negated view holds the opposite of its values.
        tensor = tensor.detach().cpu().resolve_neg().contiguous()
        if tensor.untyped_storage().data_ptr() in taken:
            tensor = tensor.clone()
        taken.add(tensor.untyped_storage().data_ptr())
        plain[name] = tensor
    return plain


def _excerpt(found: object) -> str:
    """The start of what was found, on one line: its sender chose it, and it may be long."""
    return " ".join(str(found).split())[:80]
