"""Stochastic rounding and subtractive dither value by value, in plain loops: the oracle of `heron.wire.quantiser`.

Exact fractions, but for the two roundings that the format defines: the step to float32, the position on the grid to
2^-16 of a step.
"""

from fractions import Fraction

import numpy as np

from tests.reference.stream import word

SMALLEST_STEP = np.float32(2.0**-109)


def random_16(seed: int, index: int) -> int:
    """Sixteen bits of the word that the value's position falls into."""
    return (word(seed, index // 4) >> 16 * (index % 4)) & 0xFFFF


def channel_of(index: int, shape: tuple[int, ...]) -> int:
    """The channel of a value by its position in a contiguous tensor: dimension 1, or the last of three."""
    if len(shape) < 2:
        return 0
    return int(np.unravel_index(index, shape)[2 if len(shape) == 3 else 1])


def quantise(
    values: list[float], shape: tuple[int, ...], levels: int, seed: int, *, dithered: bool = False
) -> tuple[list[int], list[float]]:
    """Codes and decoded values, in order; values are float32. `dithered`: what was added is subtracted."""
    channels = [channel_of(index, shape) for index in range(len(values))]
    codes, decoded = [], []
    for index, value in enumerate(values):
        mine = [np.float32(values[other]) for other in range(len(values)) if channels[other] == channels[index]]
        low, high = min(mine), max(mine)
        step = max((high - low) / np.float32(levels), SMALLEST_STEP)
        fine = np.rint((np.float32(value) - low) / (step / np.float32(65536)))
        position = min(Fraction(int(fine), 65536), Fraction(levels))
        added = random_16(seed, index)
        code = int(position + Fraction(added, 65536))  # floor: nothing is negative
        codes.append(code)
        if low == high:
            decoded.append(float(low))
        elif dithered:
            fine_step = step / np.float32(65536)
            middle = fine_step * np.float32(65535 / 2) + low  # the mean of what is added
            decoded.append(float(np.float32(code * 65536 - added) * fine_step + middle))
        else:
            decoded.append(float(np.float32(np.float32(code) * step) + low))
    return codes, decoded
