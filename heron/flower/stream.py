"""A client's messages of one reply as a stream of bytes: each is encoded and preceded by its length in eight bytes.

The server writes arriving pieces to a file and reads one message after another from it, so it needs the memory of one
piece or one message. With `link.bundle` the stream is a bundle, which is read as a whole.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from heron.errors import MessageError
from heron.wire import (
    Bundle,
    FromClient,
    Message,
    Reply,
    SnapshotRequest,
    decode,
    decode_bundle,
    encode,
    encoded_sizes,
)

_LENGTH_BYTES = 8


def frame(message: Message) -> bytes:
    """A message in the form of a stream."""
    content = encode(message)
    return len(content).to_bytes(_LENGTH_BYTES, "little") + content


class Stream:
    """A reply under construction; added messages are encoded at once.

    Args:
        bundle: whether the stream is a bundle. A client that then drops out has sent nothing.
    """

    def __init__(self, *, bundle: bool) -> None:
        self._bundle = Bundle() if bundle else None
        self._frames = bytearray()
        self._is_complete = False

    def add(self, message: FromClient) -> None:
        """Add the next message."""
        self._is_complete = isinstance(message, Reply | SnapshotRequest)
        if self._bundle is not None:
            self._bundle.add(message)
        else:
            self._frames += frame(message)

    def close(self) -> bytes:
        """Return the complete stream."""
        if self._bundle is None:
            return bytes(self._frames)
        return self._bundle.close()[0] if self._is_complete else b""


def num_pieces(num_bytes: int, piece_bytes: int) -> int:
    """Number of pieces of a stream; an empty stream has one piece."""
    return max(1, -(-num_bytes // piece_bytes))


def piece(stream: bytes, part: int, piece_bytes: int) -> bytes:
    """One piece of a stream, from 0; all but the last have `piece_bytes` bytes."""
    return bytes(stream[part * piece_bytes : (part + 1) * piece_bytes])


def write_single(message: Message, *, bundle: bool) -> tuple[bytes, dict[str, int]]:
    """Encode a message to a client; returns it with its bytes by kind."""
    if not bundle:
        return encode(message), encoded_sizes(message)
    one = Bundle()
    one.add(message)
    return one.close()


def read_single(content: bytes, *, bundle: bool) -> Message:
    """Decode a single message: the inverse of `write_single`.

    Raises:
        MessageError: if the content is anything else.
    """
    if not bundle:
        return decode(content)
    messages = list(decode_bundle(content))
    if len(messages) != 1:
        raise MessageError(f"expected a bundle of one message, found one of {len(messages)}")
    return messages[0]


def counted(sizes: Sequence[dict[str, int]], num_bytes: int, *, bundle: bool) -> list[dict[str, int]]:
    """Entries to count for a stream: its messages, or one bundle of `num_bytes` bytes, divided into the same kinds."""
    if not bundle or not sizes:
        return list(sizes)
    kinds: Counter[str] = Counter()
    for each in sizes:
        kinds.update({kind: size for kind, size in each.items() if kind != "framing"})
    return [dict(kinds) | {"framing": num_bytes - kinds.total()}]


def read_stream(path: Path, *, bundle: bool) -> Iterator[Message]:
    """Yield the messages of a file, one at a time.

    Raises:
        MessageError: if a length exceeds the end of the file, or a message cannot be decoded.
    """
    if bundle:
        content = path.read_bytes()
        if content:
            yield from decode_bundle(content)
        return
    with path.open("rb") as file:
        left = path.stat().st_size
        while left:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            left -= _LENGTH_BYTES
            if left < 0 or length > left:
                raise MessageError(f"expected a message of {length} bytes, found a stream that ends before")
            left -= length
            yield decode(file.read(length))
