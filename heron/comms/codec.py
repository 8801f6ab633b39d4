"""Messages to bytes and back, in safetensors: nothing that is read can run code.

A message is one safetensors blob with a single metadata entry that names its type. Integers travel in a tensor, so
that the size of a message is a function of its type and shapes alone (docs/decisions/0002).
"""

import json
from functools import lru_cache

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from heron.comms.layout import BY_TAG, BY_TYPE, INTEGERS, Layout, integer_tensor, kind_of, named_tensors
from heron.comms.messages import Message
from heron.errors import MessageError

_VERSION = 1
_KEY = "heron"
_LENGTH_PREFIX_BYTES = 8
_MAX_HEADER_BYTES = 1 << 24
# Names of dtypes in a safetensors header.
_DTYPE_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_Signature = tuple[tuple[str, torch.dtype, tuple[int, ...]], ...]


def encode(message: Message) -> bytes:
    """Encode a message.

    Raises:
        MessageError: if a tensor has a dtype that does not travel.
    """
    tensors = {name: _plain(tensor) for name, tensor in named_tensors(message).items()}
    _check_dtypes(tensors)
    tensors[INTEGERS] = integer_tensor(message)
    return save(tensors, metadata={_KEY: _metadata(BY_TYPE[type(message)].tag)})


def decode(data: bytes, *, max_bytes: int | None = None) -> Message:
    """Decode a message; the tensors do not depend on `data` afterwards.

    Args:
        data: what `encode` made.
        max_bytes: refuse anything longer before looking at it.

    Raises:
        MessageError: if the bytes are too many, damaged, foreign, or not a complete message.
    """
    if max_bytes is not None and len(data) > max_bytes:
        raise MessageError(f"expected a message of at most {max_bytes} bytes, found {len(data)}")
    layout = _layout(data)
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, OverflowError) as error:
        raise MessageError(f"expected an encoded message, found damaged bytes ({error})") from error
    return _assemble(layout, tensors)


def encoded_sizes(message: Message) -> dict[str, int]:
    """Bytes of the encoded message by kind, without encoding it; they sum to `len(encode(message))`.

    Returns:
        Kinds of the message's tensors (`smashed`, `labels`, `model`, `scalars`) and `framing` for everything else.
    """
    layout = BY_TYPE[type(message)]
    sizes: dict[str, int] = {}
    signature: list[tuple[str, torch.dtype, tuple[int, ...]]] = []
    for name, tensor in named_tensors(message).items():
        kind = kind_of(layout, name)
        sizes[kind] = sizes.get(kind, 0) + tensor.numel() * tensor.element_size()
        signature.append((name, tensor.dtype, tuple(tensor.shape)))
    sizes["framing"] = _framing_bytes(layout.tag, tuple(signature))
    return sizes


@lru_cache(maxsize=256)
def _framing_bytes(tag: str, signature: _Signature) -> int:
    """Length prefix, JSON header padded to eight bytes, and the integers (the public safetensors format)."""
    num_integers = len(BY_TAG[tag].integers)
    entries = [*signature, (INTEGERS, torch.int64, (num_integers,))]
    # The format stores tensors by falling alignment, then by name; offsets have as many digits as they need.
    entries.sort(key=lambda entry: (-entry[1].itemsize, entry[0]))
    header: dict[str, object] = {"__metadata__": {_KEY: _metadata(tag)}}
    offset = 0
    for name, dtype, shape in entries:
        stop = offset + dtype.itemsize * torch.Size(shape).numel()
        header[name] = {"dtype": _DTYPE_NAMES[dtype], "shape": shape, "data_offsets": (offset, stop)}
        offset = stop
    length = len(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode())
    return _LENGTH_PREFIX_BYTES + -(-length // 8) * 8 + num_integers * torch.int64.itemsize


def _metadata(tag: str) -> str:
    return json.dumps({"type": tag, "version": _VERSION}, separators=(",", ":"))


def _layout(data: bytes) -> Layout:
    """The type named in the header, read before any tensor is."""
    length = int.from_bytes(data[:_LENGTH_PREFIX_BYTES], "little")
    if len(data) < _LENGTH_PREFIX_BYTES or length > min(len(data) - _LENGTH_PREFIX_BYTES, _MAX_HEADER_BYTES):
        raise MessageError(f"expected an encoded message, found {len(data)} bytes that are cut short or foreign")
    try:
        header = json.loads(data[_LENGTH_PREFIX_BYTES : _LENGTH_PREFIX_BYTES + length])
        facts = json.loads(header["__metadata__"][_KEY])
        version, tag = facts["version"], facts["type"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise MessageError("expected an encoded message, found bytes without its header") from error
    if version != _VERSION or not isinstance(tag, str) or tag not in BY_TAG:
        raise MessageError(f"expected a message of version {_VERSION} and a known type, found {tag!r} of {version!r}")
    return BY_TAG[tag]


def _assemble(layout: Layout, tensors: dict[str, Tensor]) -> Message:
    integers = tensors.pop(INTEGERS, None)
    if integers is None or integers.dtype != torch.int64 or integers.shape != (len(layout.integers),):
        raise MessageError(f"{layout.tag}: expected {len(layout.integers)} int64 integers, found something else")
    values = integers.tolist()
    if min(values) < 0:
        raise MessageError(f"{layout.tag}: expected integers >= 0, found {values}")
    fields: dict[str, object] = dict(zip(layout.integers, values, strict=True))
    mappings: dict[str, dict[str, Tensor]] = {field: {} for field in layout.mappings}
    for name, tensor in tensors.items():
        field, slash, entry = name.partition("/")
        if slash and field in mappings:
            mappings[field][entry] = tensor
        elif not slash and field in layout.tensors:
            fields[field] = tensor
        else:
            raise MessageError(f"{layout.tag}: unexpected tensor {name!r}")
    missing = [field for field in layout.tensors if field not in fields]
    if missing:
        raise MessageError(f"{layout.tag}: expected tensor {missing[0]!r}, found none")
    for field in layout.scalars:
        scalar = tensors[field]
        if scalar.dtype != torch.float32 or scalar.shape != ():
            raise MessageError(
                f"{layout.tag}: expected {field} as one float32, found {scalar.dtype} {tuple(scalar.shape)}"
            )
    return layout.message(**fields, **mappings)  # type: ignore[arg-type]


def _plain(tensor: Tensor) -> Tensor:
    """On the CPU, contiguous and alone in its storage: views of one flat buffer would be refused or sent whole."""
    tensor = tensor.detach().cpu().contiguous()
    whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    return tensor if whole else tensor.clone()


def _check_dtypes(tensors: dict[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.dtype not in _DTYPE_NAMES:
            raise MessageError(f"tensor {name!r}: dtype {tensor.dtype} does not travel; convert it")
