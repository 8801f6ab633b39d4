"""Direction stream, version 1: any stretch of a random direction, regenerated from its seed.

A direction is never stored. Entry `i` of the direction of `seed` is a function of (seed, i) alone, so any range
can be made anywhere, in any order, on any device. The specification is frozen; a change is a new version.

    word(seed, n)      = n-th output of SplitMix64 started at `seed` (Steele, Lea and Flood, OOPSLA 2014)
    Rademacher, i      = +1 where bit (i mod 64) of word(seed, i div 64) is 0, -1 where it is 1
    Gaussian, 2j, 2j+1 = Box-Muller of word(seed, j): radius from its high 32 bits, angle from its low 32 bits

Rademacher signs are the same bits on every device; Gaussian entries agree to float tolerance.
Both have E[u u^T] = I, so the two-point estimate needs no factor d (docs/methods.md, "Normalisation of directions").

This is the stream in NumPy; `torch_stream` is the same on any device of torch.
"""

import math
from functools import cache
from typing import Any, Literal, TypeVar, get_args, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from heron.arrays import Array, is_tensor

Distribution = Literal["rademacher", "gaussian"]
"""Kind of the entries of a direction: signs, or standard normal numbers."""
DISTRIBUTIONS: tuple[Distribution, ...] = get_args(Distribution)
"""All distributions."""

A = TypeVar("A", bound=Array)

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_TWO_POW_32 = 2.0**32
# The signs of every byte, bit 0 first.
_SIGNS = (1 - 2 * (np.arange(256)[:, np.newaxis] >> np.arange(8) & 1)).astype(np.int8)


@overload
def direction(
    seed: int, start: int, stop: int, *, distribution: Distribution = ..., like: None = ...
) -> NDArray[np.float32]: ...
@overload
def direction(seed: int, start: int, stop: int, *, distribution: Distribution = ..., like: A) -> A: ...
def direction(
    seed: int, start: int, stop: int, *, distribution: Distribution = "rademacher", like: Array | None = None
) -> Any:
    """Entries `start` to `stop - 1` of the direction of `seed`.

    Args:
        seed: integer in [0, 2**64).
        start: first entry, >= 0.
        stop: one past the last entry, >= start.
        distribution: `"rademacher"` (signs) or `"gaussian"` (standard normal).
        like: floating array or tensor whose kind, element type and device the result has; a float32 array by default.

    Returns:
        Array of shape (stop - start,).

    Examples:
        >>> np.array_equal(direction(7, 0, 100)[40:60], direction(7, 40, 60))
        True
    """
    if like is not None and is_tensor(like):
        from heron.zo import torch_stream

        return torch_stream.direction(
            seed, start, stop, distribution=distribution, dtype=like.dtype, device=like.device
        )
    dtype: Any = np.float32 if like is None else like.dtype
    if distribution == "rademacher":
        return scaled_signs(seed, start, stop, sign_table(1.0, dtype))
    return gaussian(seed, start, stop).astype(dtype)


def gaussian(seed: int, start: int, stop: int) -> NDArray[np.float64]:
    """Entries `start` to `stop - 1` of the Gaussian direction of `seed`, before they are rounded to another type."""
    pair_words = words(seed, start // 2, (stop + 1) // 2)
    # (0, 1], so that the logarithm is finite; float64 keeps the 32 bits.
    uniform = ((pair_words >> np.uint64(32)).astype(np.float64) + 1.0) / _TWO_POW_32
    radius = np.sqrt(-2.0 * np.log(uniform))
    angle = (pair_words & np.uint64(0xFFFFFFFF)).astype(np.float64) * (2.0 * math.pi / _TWO_POW_32)
    pairs = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1)
    offset = start % 2
    return pairs.reshape(-1)[offset : offset + stop - start]


def sign_table(scale: Any, dtype: DTypeLike) -> NDArray[Any]:
    """`scale` times the eight signs of every byte, bit 0 first: shape (256, 8).

    Looking bytes up in a table that already holds the scale costs one pass over the result, and `scale * (+-1)`
    is exact, so the sum that follows is rounded once.
    """
    table: NDArray[Any] = _signs(np.dtype(dtype)) * np.asarray(scale, dtype)
    return table


@cache
def _signs(dtype: np.dtype[Any]) -> NDArray[Any]:
    """The signs of every byte as floats, for tables that every probe makes anew."""
    return _SIGNS.astype(dtype)


def scaled_signs(
    seed: int, start: int, stop: int, table: NDArray[Any], out: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Entries `start` to `stop - 1` of `scale * direction`, for the scale that `table` was made with.

    Args:
        seed: integer in [0, 2**64).
        start: first entry, >= 0.
        stop: one past the last entry, >= start.
        table: result of `sign_table`.
        out: buffer that the result is a view of, of 64 entries for each word that is touched at least.
    """
    first = start // 64
    # Little-endian bytes of a word hold its bits in order, eight at a time.
    octets = words(seed, first, (stop + 63) // 64).view(np.uint8).astype(np.intp)
    rows = None if out is None else out[: 8 * len(octets)].reshape(-1, 8)
    # No index is out of range; the mode "raise" would make a copy of `out`.
    signs = np.take(table, octets, axis=0, out=rows, mode="clip").reshape(-1)
    offset = start - 64 * first
    return signs[offset : offset + stop - start]


def words(seed: int, first: int, last: int) -> NDArray[np.uint64]:
    """SplitMix64 outputs `first` to `last - 1` of `seed` (integer sums and products wrap modulo 2**64)."""
    state = np.arange(first + 1, last + 1, dtype=np.uint64)
    state *= _GOLDEN
    state += np.uint64(seed)
    state ^= state >> np.uint64(30)
    state *= _MIX_1
    state ^= state >> np.uint64(27)
    state *= _MIX_2
    state ^= state >> np.uint64(31)
    return state
