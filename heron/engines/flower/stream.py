"""A client's messages of one reply as one stream of bytes: each encoded, after its length in eight bytes.

The server keeps what arrives in a file and reads message after message from it: memory is that of one piece or one
message, whichever is larger.
"""

from collections.abc import Iterator
from pathlib import Path

from heron.comms import Message, decode, encode
from heron.errors import MessageError

_LENGTH_BYTES = 8


def frame(message: Message) -> bytes:
    """A message as it lies in a stream."""
    content = encode(message)
    return len(content).to_bytes(_LENGTH_BYTES, "little") + content


def num_pieces(num_bytes: int, piece_bytes: int) -> int:
    """How many pieces a stream is sent in; an empty one is one piece."""
    return max(1, -(-num_bytes // piece_bytes))


def piece(stream: bytes, part: int, piece_bytes: int) -> bytes:
    """One piece of a stream, from 0; all but the last have `piece_bytes` bytes."""
    return bytes(stream[part * piece_bytes : (part + 1) * piece_bytes])


def read_stream(path: Path) -> Iterator[Message]:
    """The messages of a file, one at a time.

    Raises:
        MessageError: if a length runs over the end of the file, or a message cannot be decoded.
    """
    with path.open("rb") as file:
        left = path.stat().st_size
        while left:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            left -= _LENGTH_BYTES
            if left < 0 or length > left:
                raise MessageError(f"expected a message of {length} bytes, found a stream that ends before")
            left -= length
            yield decode(file.read(length))
