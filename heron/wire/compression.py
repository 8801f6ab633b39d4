"""Lossless compression of bytes (Zstandard, RFC 8878), with every size known before anything is allocated."""

from typing import Any

import numpy as np

from heron.arrays import Array, to_host
from heron.errors import MessageError
from heron.wire.kinds import to_kind_of

MAX_EXPANSION = 1024
"""Bytes out for each byte in, at most: what is received bounds what is allocated."""
_LEVEL = 3


def compress(content: Array) -> Any:
    """Compress bytes.

    Args:
        content: uint8, shape (n,), on any device.

    Returns:
        uint8 of the same kind and device, fewer than n; None where it does not get smaller, or so small that no
        receiver would believe it.
    """
    frame = compress_bytes(to_host(content).data)
    if not len(frame) < len(content) <= MAX_EXPANSION * len(frame):
        return None
    return to_kind_of(np.frombuffer(bytearray(frame), np.uint8), content)


def decompress(frame: Array, num_bytes: int) -> Any:
    """Inverse of `compress`.

    Args:
        frame: uint8, shape (n,), on any device.
        num_bytes: bytes that must come out.

    Raises:
        MessageError: if others would, or the frame is damaged.
    """
    content = decompress_bytes(to_host(frame).data, num_bytes)
    return to_kind_of(np.frombuffer(bytearray(content), np.uint8), frame)


def compress_bytes(content: bytes | memoryview, level: int = _LEVEL) -> bytes:
    """One Zstandard frame that tells its content's size."""
    import zstandard

    return zstandard.ZstdCompressor(level=level, write_content_size=True).compress(content)


def decompress_bytes(frame: bytes | memoryview, num_bytes: int, *, max_expansion: int | None = MAX_EXPANSION) -> bytes:
    """Inverse of `compress_bytes`.

    Args:
        frame: one frame, nothing behind it.
        num_bytes: bytes that must come out.
        max_expansion: bytes out for each byte in, at most; None where the caller has bounded `num_bytes` otherwise.

    Raises:
        MessageError: if others would, or the frame is damaged.
    """
    import zstandard

    # The library allocates what the frame tells before it reads on.
    told = told_bytes(frame, num_bytes)
    if told != num_bytes or (max_expansion is not None and num_bytes > max_expansion * len(frame)):
        raise MessageError(
            f"expected a compressed frame of {num_bytes} bytes, found one of {told} in {len(frame)} bytes"
        )
    try:
        content: bytes = zstandard.ZstdDecompressor().decompress(
            frame, max_output_size=num_bytes, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise MessageError(f"expected a compressed frame, found damaged bytes ({str(error)[:80]})") from error
    if len(content) != num_bytes:
        raise MessageError(f"expected a compressed frame of {num_bytes} bytes, found {len(content)}")
    return content


def told_bytes(frame: bytes | memoryview, max_bytes: int) -> int:
    """Number of bytes that a frame declares as its content.

    Raises:
        MessageError: if it does not say so, or says more than `max_bytes`.
    """
    import zstandard

    try:
        told = zstandard.frame_content_size(frame)
    except zstandard.ZstdError as error:
        raise MessageError(f"expected a compressed frame, found damaged bytes ({str(error)[:80]})") from error
    if not 0 <= told <= max_bytes:
        raise MessageError(f"expected a compressed frame of at most {max_bytes} bytes, found one of {told}")
    return told
