"""Direction stream, version 1, once more in Python integers and `math`: one entry at a time."""

import math

import numpy as np
from numpy.typing import NDArray

MASK = 2**64 - 1


def word(seed: int, n: int) -> int:
    """Output n of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): the state has been advanced n + 1 times."""
    z = (seed + (n + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def rademacher(seed: int, start: int, stop: int) -> NDArray[np.float64]:
    signs = []
    n = bits = -1
    for i in range(start, stop):
        if i // 64 != n:
            n = i // 64
            bits = word(seed, n)
        signs.append(-1.0 if (bits >> (i % 64)) & 1 else 1.0)
    return np.array(signs, dtype=np.float64)


def gaussian(seed: int, start: int, stop: int) -> NDArray[np.float64]:
    """Box-Muller: entries 2j and 2j + 1 are the cosine and the sine of the pair made of word j."""
    entries = []
    for i in range(start, stop):
        bits = word(seed, i // 2)
        radius = math.sqrt(-2.0 * math.log(((bits >> 32) + 1) / 2**32))
        angle = 2.0 * math.pi * (bits & 0xFFFFFFFF) / 2**32
        entries.append(radius * (math.sin(angle) if i % 2 else math.cos(angle)))
    return np.array(entries, dtype=np.float64)


def direction(seed: int, start: int, stop: int, distribution: str) -> NDArray[np.float64]:
    return {"rademacher": rademacher, "gaussian": gaussian}[distribution](seed, start, stop)
