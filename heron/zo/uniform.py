"""Uniform random integers of 16 bits, from the words of the direction stream: the same bits on every device.

entry i of a seed = bits 16 (i mod 4) to 16 (i mod 4) + 15 of word(seed, i div 4)
"""

import torch
from torch import Tensor

from heron.zo.stream import _words


def uniform_16(seed: int, start: int, stop: int, device: torch.device | str = "cpu") -> Tensor:
    """Entries `start` to `stop - 1` of the uniform integers of `seed`.

    Args:
        seed: integer in [0, 2**64).
        start: first entry, >= 0.
        stop: one past the last entry, >= start.
        device: where the result lives.

    Returns:
        int32 values from 0 to 65535, shape (stop - start,).

    Examples:
        >>> uniform_16(7, 0, 100)[41:60].equal(uniform_16(7, 41, 60))
        True
    """
    first_word = start // 4
    words = _words(seed, first_word, (stop + 3) // 4, torch.device(device))
    offset = start - 4 * first_word
    # Little-endian halves of a word's halves, low bits first; as signed integers they have to be masked.
    return words.view(torch.int16)[offset : offset + stop - start].int() & 0xFFFF
