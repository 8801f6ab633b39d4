"""Uniform random integers of 16 bits, from the words of the direction stream: the same bits on every device.

entry i of a seed = bits 16 (i mod 4) to 16 (i mod 4) + 15 of word(seed, i div 4)
"""

from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from heron.arrays import Array, is_tensor
from heron.zo.stream import A, words


@overload
def uniform_16(seed: int, start: int, stop: int, *, like: None = ...) -> NDArray[np.int32]: ...
@overload
def uniform_16(seed: int, start: int, stop: int, *, like: A) -> A: ...
def uniform_16(seed: int, start: int, stop: int, *, like: Array | None = None) -> Any:
    """Entries `start` to `stop - 1` of the uniform integers of `seed`.

    Args:
        seed: integer in [0, 2**64).
        start: first entry, >= 0.
        stop: one past the last entry, >= start.
        like: array or tensor whose kind and device the result has; an array by default.

    Returns:
        int32 values from 0 to 65535, shape (stop - start,).

    Examples:
        >>> np.array_equal(uniform_16(7, 0, 100)[41:60], uniform_16(7, 41, 60))
        True
    """
    if like is not None and is_tensor(like):
        from heron.zo import torch_stream

        return torch_stream.uniform_16(seed, start, stop, like.device)
    first_word = start // 4
    # Little-endian, so low bits first.
    halves = words(seed, first_word, (stop + 3) // 4).view(np.uint16)
    offset = start - 4 * first_word
    return halves[offset : offset + stop - start].astype(np.int32)
