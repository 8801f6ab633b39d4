"""What a packed tensor may be: its codecs, their limits, and the refusal of everything else.

A packed tensor is a mapping of tensors, written by `heron.wire.quantiser`. What came over a wire is a stranger's until
it has passed here: sizes are read before anything is allocated.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from heron.errors import MessageError, TrainingError

Codec = Literal["fp32", "fp16", "int8", "int4", "dither6"]
CODECS: tuple[Codec, ...] = get_args(Codec)

MAX_DIMENSIONS = 8
MAX_ELEMENTS = 2**28
"""A gibibyte in float32: the largest tensor that is unpacked, whatever its sender says."""
COMPRESSED = ".zstd"
"""Suffix of the name of codes that are compressed."""
FLOATS = {"fp32": torch.float32, "fp16": torch.float16}
LEVELS = {"int8": 255, "int4": 15, "dither6": 5}
"""L, the largest code of every quantised codec."""
CODES_PER_BYTE = {"int8": 1, "int4": 2, "dither6": 3}
DITHERED = frozenset({"dither6"})
"""Codecs whose receiver subtracts the dither, of which it is sent the seed."""
# Below 2^126 no range, no step and no sum of the formulas overflows; a network beyond it has diverged.
_LARGEST = {codec: torch.finfo(dtype).max for codec, dtype in FLOATS.items()}
_LARGEST_QUANTISED = 2.0**126


def check_sent(tensor: Tensor) -> None:
    """Refuse what is not packed, with a MessageError: integers, too many dimensions or values."""
    if not tensor.is_floating_point() or tensor.dim() > MAX_DIMENSIONS or tensor.numel() > MAX_ELEMENTS:
        raise MessageError(
            f"expected a floating tensor of at most {MAX_DIMENSIONS} dimensions and {MAX_ELEMENTS} values to pack, "
            f"found {tensor.dtype} of shape {tuple(tensor.shape)}"
        )


def check_magnitude(extremes: Sequence[Tensor], codec: str) -> None:
    """Refuse values beyond the largest of the codec, with a TrainingError; NaN is in every extreme it has a part in."""
    largest = _LARGEST.get(codec, _LARGEST_QUANTISED)
    found = [float(extreme.abs().max()) for extreme in extremes if extreme.numel()]
    if not all(value <= largest for value in found):
        raise TrainingError(
            f"expected finite values of at most {largest:.3g} to pack as {codec}, found "
            f"{next(value for value in found if not value <= largest)}; lower client.learning_rate, check the data for "
            f"NaN, or choose another codec"
        )


def codec_of(packed: Mapping[str, Tensor]) -> tuple[str, str]:
    """The name of the codes and their codec; a MessageError if there is anything else, or not enough."""
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


def read_shape(packed: Mapping[str, Tensor], max_elements: int) -> tuple[int, ...]:
    """The shape of what was packed; a MessageError if it is none, or of more values."""
    shape = packed["shape"]
    if shape.dtype != torch.int32 or shape.dim() != 1 or len(shape) > MAX_DIMENSIONS:
        raise MessageError(
            f"expected a packed shape as int32 of at most {MAX_DIMENSIONS} entries, found {shape.dtype} of shape "
            f"{tuple(shape.shape)[:8]}"
        )
    sizes = tuple(shape.tolist())
    # Zeros do not count: torch cannot hold strides of such a shape either.
    if min(sizes, default=0) < 0 or math.prod(size or 1 for size in sizes) > max_elements:
        raise MessageError(f"expected a packed shape of at most {max_elements} values, found {sizes}")
    return sizes


def check_scales(scales: Tensor, num_channels: int, num_levels: int) -> None:
    """Refuse grids that are not finite or not one for each channel, with a MessageError."""
    if scales.dtype != torch.float32 or scales.shape != (2, num_channels):
        raise MessageError(
            f"expected packed scales as float32 of shape (2, {num_channels}), found {scales.dtype} of shape "
            f"{tuple(scales.shape)[:8]}"
        )
    low_C, step_C = scales
    # Half a step beyond the grid: what subtracting a dither adds.
    extremes = low_C.abs() + step_C * (num_levels + 1)
    if not bool(torch.isfinite(extremes).all()) or bool((step_C < 0).any()):
        raise MessageError("expected packed scales of finite range and steps >= 0, found others")


def check_codes(codes: Tensor, codec: str) -> None:
    """Refuse bytes that no codes make, with a MessageError: three of six levels leave 216 to 255 unused."""
    largest = (LEVELS[codec] + 1) ** CODES_PER_BYTE[codec] - 1
    if largest < 255 and codes.numel() and int(codes.max()) > largest:
        raise MessageError(f"packed {codec}: expected bytes of at most {largest}, found {int(codes.max())}")


def read_seed(packed: Mapping[str, Tensor]) -> int:
    """The seed of the dither, in [0, 2**64); a MessageError if it is no single 64-bit integer."""
    seed = packed["seed"]
    if seed.dtype != torch.int64 or seed.shape != (1,):
        raise MessageError(
            f"expected a packed seed as int64 of shape (1,), found {seed.dtype} of shape {tuple(seed.shape)[:8]}"
        )
    return int(seed) % 2**64


def check_finite(values: Tensor, name: str) -> None:
    """Refuse NaN and infinity in what was received, with a MessageError."""
    if not bool(torch.isfinite(values).all()):
        raise MessageError(f"packed {name}: expected finite values, found NaN or infinity")
