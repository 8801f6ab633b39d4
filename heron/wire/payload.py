"""Codecs of a packed array, their limits, and the refusal of everything else.

A packed array is a mapping of arrays, written by `heron.wire.quantiser`. One that came over a wire is a stranger's
until it has passed here: sizes are read before anything is allocated.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np

from heron.arrays import Array, dtype_name, is_floating, namespace, to_host
from heron.errors import MessageError, TrainingError

Codec = Literal["fp32", "fp16", "int8", "int4", "dither6"]
"""Number format of packed tensors."""
CODECS: tuple[Codec, ...] = get_args(Codec)
"""All codecs."""

MAX_DIMENSIONS = 8
MAX_ELEMENTS = 2**28
"""A gibibyte in float32: the largest array that is unpacked, whatever its sender says."""
COMPRESSED = ".zstd"
"""Suffix of the name of codes that are compressed."""
FLOATS = {"fp32": "float32", "fp16": "float16"}
LEVELS = {"int8": 255, "int4": 15, "dither6": 5}
"""L, the largest code of every quantised codec."""
CODES_PER_BYTE = {"int8": 1, "int4": 2, "dither6": 3}
DITHERED = frozenset({"dither6"})
"""Codecs whose receiver subtracts the dither, of which it is sent the seed."""
# Below 2^126 no range, no step and no sum of the formulas overflows; a network beyond it has diverged.
_LARGEST = {codec: float(np.finfo(dtype).max) for codec, dtype in FLOATS.items()}
_LARGEST_QUANTISED = 2.0**126


def check_sent(array: Array) -> None:
    """Refuse to pack integers, too many dimensions or too many values, with a MessageError."""
    shape = tuple(array.shape)
    if not is_floating(array) or len(shape) > MAX_DIMENSIONS or math.prod(shape) > MAX_ELEMENTS:
        raise MessageError(
            f"expected a floating tensor of at most {MAX_DIMENSIONS} dimensions and {MAX_ELEMENTS} values to pack, "
            f"found {dtype_name(array)} of shape {shape}"
        )


def check_magnitude(extremes: Sequence[Any], codec: str) -> None:
    """Refuse values beyond the largest of the codec, with a TrainingError; NaN is in every extreme it has a part in."""
    largest = _LARGEST.get(codec, _LARGEST_QUANTISED)
    found = [float(abs(extreme).max()) for extreme in extremes if math.prod(extreme.shape)]
    if not all(value <= largest for value in found):
        raise TrainingError(
            f"expected finite values of at most {largest:.3g} to pack as {codec}, found "
            f"{next(value for value in found if not value <= largest)}; lower client.learning_rate, check the data for "
            f"NaN, or choose another codec"
        )


def codec_of(packed: Mapping[str, Array]) -> tuple[str, str]:
    """Name of the codes, and their codec; a MessageError if there is anything else, or not enough."""
    names = [name for name in packed if name.removesuffix(COMPRESSED) in CODECS]
    codec = names[0].removesuffix(COMPRESSED) if len(names) == 1 else ""
    expected = (
        {*names, "shape"} | ({"scales"} if codec in LEVELS else set()) | ({"seed"} if codec in DITHERED else set())
    )
    if not codec or packed.keys() != expected:
        found = ", ".join(sorted(map(repr, packed)))[:80]
        raise MessageError(
            f"expected codes of one of {', '.join(CODECS)} with their shape, scales and seed, found {found}"
        )
    return names[0], codec


def read_shape(packed: Mapping[str, Array], max_elements: int) -> tuple[int, ...]:
    """The shape of what was packed; a MessageError if it is none, or of more values."""
    shape = packed["shape"]
    found = tuple(shape.shape)
    if dtype_name(shape) != "int32" or len(found) != 1 or found[0] > MAX_DIMENSIONS:
        raise MessageError(
            f"expected a packed shape as int32 of at most {MAX_DIMENSIONS} entries, found {dtype_name(shape)} of shape "
            f"{found[:8]}"
        )
    sizes: tuple[int, ...] = tuple(to_host(shape).tolist())
    # Zeros do not count: neither NumPy nor torch can hold strides of such a shape.
    if min(sizes, default=0) < 0 or math.prod(size or 1 for size in sizes) > max_elements:
        raise MessageError(f"expected a packed shape of at most {max_elements} values, found {sizes}")
    return sizes


def check_scales(scales: Array, num_channels: int, num_levels: int) -> None:
    """Refuse grids that are not finite or not one for each channel, with a MessageError."""
    if dtype_name(scales) != "float32" or tuple(scales.shape) != (2, num_channels):
        raise MessageError(
            f"expected packed scales as float32 of shape (2, {num_channels}), found {dtype_name(scales)} of shape "
            f"{tuple(scales.shape)[:8]}"
        )
    low_C, step_C = scales
    # Half a step beyond the grid: what subtracting a dither adds.
    extremes = abs(low_C) + step_C * (num_levels + 1)
    if not bool(namespace(scales).isfinite(extremes).all()) or bool((step_C < 0).any()):
        raise MessageError("expected packed scales of finite range and steps >= 0, found others")


def check_codes(codes: Any, codec: str) -> None:
    """Refuse bytes that no codes make, with a MessageError: three of six levels leave 216 to 255 unused."""
    largest = (LEVELS[codec] + 1) ** CODES_PER_BYTE[codec] - 1
    if largest < 255 and len(codes) and int(codes.max()) > largest:
        raise MessageError(f"packed {codec}: expected bytes of at most {largest}, found {int(codes.max())}")


def read_seed(packed: Mapping[str, Array]) -> int:
    """The seed of the dither, in [0, 2**64); a MessageError if it is no single 64-bit integer."""
    seed = packed["seed"]
    if dtype_name(seed) != "int64" or tuple(seed.shape) != (1,):
        raise MessageError(
            f"expected a packed seed as int64 of shape (1,), found {dtype_name(seed)} of shape {tuple(seed.shape)[:8]}"
        )
    return int(seed[0]) % 2**64


def check_finite(values: Array, name: str) -> None:
    """Refuse NaN and infinity in what was received, with a MessageError."""
    if not bool(namespace(values).isfinite(values).all()):
        raise MessageError(f"packed {name}: expected finite values, found NaN or infinity")
