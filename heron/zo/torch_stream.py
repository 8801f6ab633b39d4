"""The direction stream and its uniform integers as tensors, on any device of torch; `stream` has the specification."""

import math

import torch
from torch import Tensor

from heron.zo.stream import Distribution

_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB
_TWO_POW_32 = 2.0**32


def direction(
    seed: int,
    start: int,
    stop: int,
    *,
    distribution: Distribution,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """Entries `start` to `stop - 1` of the direction of `seed`, see `stream.direction`: shape (stop - start,)."""
    if distribution == "rademacher":
        return scaled_signs(seed, start, stop, sign_table(1.0, dtype, device))
    pair_words = words(seed, start // 2, (stop + 1) // 2, device)
    # (0, 1], so that the logarithm is finite; float64 keeps the 32 bits.
    uniform = ((pair_words >> 32 & 0xFFFFFFFF).double() + 1.0) / _TWO_POW_32
    radius = torch.sqrt(-2.0 * torch.log(uniform))
    angle = (pair_words & 0xFFFFFFFF).double() * (2.0 * math.pi / _TWO_POW_32)
    pairs = torch.stack((radius * torch.cos(angle), radius * torch.sin(angle)), dim=1)
    offset = start % 2
    return pairs.view(-1)[offset : offset + stop - start].to(dtype)


def sign_table(scale: Tensor | float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """`scale` times the eight signs of every byte, bit 0 first: shape (256, 8).

    Looking bytes up in a table that already holds the scale costs one pass over the result, and `scale * (+-1)`
    is exact, so the sum that follows is rounded once.
    """
    byte = torch.arange(256, device=device).unsqueeze(1)
    signs = (1 - 2 * (byte >> torch.arange(8, device=device) & 1)).to(dtype)
    return signs * scale


def scaled_signs(seed: int, start: int, stop: int, table: Tensor) -> Tensor:
    """Entries `start` to `stop - 1` of `scale * direction`, for the scale that `table` was made with."""
    first_word = start // 64
    sign_words = words(seed, first_word, (stop + 63) // 64, table.device)
    # Little-endian bytes of a word hold its bits in order, eight at a time.
    signs = table.index_select(0, sign_words.view(torch.uint8).int()).view(-1)
    offset = start - 64 * first_word
    return signs[offset : offset + stop - start]


def uniform_16(seed: int, start: int, stop: int, device: torch.device) -> Tensor:
    """Entries `start` to `stop - 1` of the uniform integers of `seed`, see `uniform`: int32, shape (stop - start,)."""
    first_word = start // 4
    halves = words(seed, first_word, (stop + 3) // 4, device).view(torch.int16)
    offset = start - 4 * first_word
    # Little-endian, so low bits first; as signed integers they have to be masked.
    return halves[offset : offset + stop - start].int() & 0xFFFF


def words(seed: int, first: int, last: int, device: torch.device) -> Tensor:
    """SplitMix64 outputs `first` to `last - 1` as int64 bit patterns (integer products wrap modulo 2**64)."""
    counters = torch.arange(first + 1, last + 1, dtype=torch.int64, device=device)
    state = counters * _signed(_GOLDEN) + _signed(seed)
    state = (state ^ _shift_right(state, 30)) * _signed(_MIX_1)
    state = (state ^ _shift_right(state, 27)) * _signed(_MIX_2)
    return state ^ _shift_right(state, 31)


def _shift_right(words: Tensor, bits: int) -> Tensor:
    return words >> bits & ((1 << (64 - bits)) - 1)


def _signed(word: int) -> int:
    return word - (1 << 64) if word >= 1 << 63 else word
