"""Several messages as one: their headers, which are nearly the same, compressed together, and their data behind.

    magic (4 bytes) | length of the frame (4 bytes, little-endian) | frame | data of every message, in order

The frame is one of Zstandard. For every message it holds the lengths of its head and of its data (12 bytes) and the
head: length prefix and header of safetensors, and the message's integers, which are the first of its data.
"""

import struct
from collections.abc import Iterable, Iterator
from itertools import accumulate

from heron.errors import MessageError
from heron.wire.codec import decode, encode, encoded_sizes
from heron.wire.compression import compress_bytes, decompress_bytes, told_bytes
from heron.wire.framing import LENGTH_PREFIX_BYTES
from heron.wire.layout import layout_of
from heron.wire.messages import Message

# Read as the length of a safetensors header, more than any message has: neither is taken for the other.
_MAGIC = b"HBN1"
_LENGTH = struct.Struct("<I")
_LENGTHS = struct.Struct("<IQ")
_START = len(_MAGIC) + _LENGTH.size
_MAX_HEADS_BYTES = 1 << 24
_INTEGER_BYTES = 8
_LEVEL = 9


class Bundle:
    """A bundle in the making: what is added is encoded at once and not referred to afterwards."""

    def __init__(self) -> None:
        self._heads: list[bytes] = []
        self._data: list[bytes] = []
        self._sizes: dict[str, int] = {}

    def add(self, message: Message) -> None:
        """Take the next message.

        Raises:
            MessageError: if it cannot be encoded.
        """
        content = encode(message)
        header_bytes = int.from_bytes(content[:LENGTH_PREFIX_BYTES], "little")
        stop = LENGTH_PREFIX_BYTES + header_bytes + _INTEGER_BYTES * len(layout_of(message).integers)
        self._heads.append(_LENGTHS.pack(stop, len(content) - stop) + content[:stop])
        self._data.append(content[stop:])
        for kind, size in encoded_sizes(message).items():
            if kind != "framing":
                self._sizes[kind] = self._sizes.get(kind, 0) + size

    def close(self) -> tuple[bytes, dict[str, int]]:
        """The bundle, and its bytes by kind: those of the messages, `framing` for everything else.

        Raises:
            MessageError: if the headers take more than 16 MiB.
        """
        heads = b"".join(self._heads)
        if len(heads) > _MAX_HEADS_BYTES:
            raise MessageError(
                f"expected headers of at most {_MAX_HEADS_BYTES} bytes in a bundle, found {len(heads)}; send fewer "
                f"messages in a round (client.upload_period) or set link.bundle=false"
            )
        frame = compress_bytes(heads, _LEVEL)
        data = b"".join((_MAGIC, _LENGTH.pack(len(frame)), frame, *self._data))
        return data, self._sizes | {"framing": len(data) - sum(self._sizes.values())}


def encode_bundle(messages: Iterable[Message]) -> bytes:
    """Encode messages as one.

    Raises:
        MessageError: if one cannot be encoded, or they have more than 16 MiB of headers.
    """
    bundle = Bundle()
    for message in messages:
        bundle.add(message)
    return bundle.close()[0]


def decode_bundle(data: bytes, *, max_bytes: int | None = None) -> Iterator[Message]:
    """Decode a bundle, one message at a time.

    Args:
        data: what `encode_bundle` made.
        max_bytes: refuse anything longer before looking at it; None for no limit.

    Returns:
        The messages in order. All lengths are checked before the first, each message when its turn comes.

    Raises:
        MessageError: if the bytes are too many, damaged or foreign; from the iterator, if a message is.
    """
    if max_bytes is not None and len(data) > max_bytes:
        raise MessageError(f"expected a bundle of at most {max_bytes} bytes, found {len(data)}")
    stop = _START + int.from_bytes(data[len(_MAGIC) : _START], "little")
    if len(data) < _START or not data.startswith(_MAGIC) or stop > len(data):
        raise MessageError(f"expected a bundle of messages, found {len(data)} bytes that are cut short or foreign")
    frame = data[_START:stop]
    heads = _heads(decompress_bytes(frame, told_bytes(frame, _MAX_HEADS_BYTES), max_expansion=None))
    ends = list(accumulate((num_bytes for _, num_bytes in heads), initial=stop))
    if ends[-1] != len(data):
        raise MessageError(f"expected a bundle of {ends[-1]} bytes, found {len(data)}")
    return (decode(head + data[start:end]) for (head, _), start, end in zip(heads, ends[:-1], ends[1:], strict=True))


def _heads(content: bytes) -> list[tuple[bytes, int]]:
    """The head of every message and the length of its data."""
    heads: list[tuple[bytes, int]] = []
    position = 0
    while position < len(content):
        start = position + _LENGTHS.size
        if start > len(content):
            raise MessageError("expected the lengths of a message in a bundle, found its end")
        head_bytes, num_bytes = _LENGTHS.unpack_from(content, position)
        position = start + head_bytes
        if position > len(content):
            raise MessageError(f"expected a head of {head_bytes} bytes in a bundle, found its end")
        heads.append((content[start:position], num_bytes))
    return heads
