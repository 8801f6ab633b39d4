"""One array in few bytes: float16, or 8, 4 or 8/3 bits a value with random rounding; lossless compression on top.

Every channel has an affine grid of its own, from its smallest value to its largest, so that nothing is ever clipped:

    lo = min z,  step = (max z - lo) / L,  code = floor((z - lo) / step + u),  z' = lo + step * code

with L = 255 (`int8`), 15 (`int4`) or 5 (`dither6`) and u uniform in [0, 1), a function of (seed, position). So
E[z'] = z, |z' - z| < step and the variance is at most step^2 / 4, up to float32 rounding and a bias of at most
2^-17 step, because u has 16 bits.
Values on the grid, the smallest among them, stay what they are: the zeros of a ReLU remain zeros.

`dither6` also sends the seed, and its receiver subtracts what was added (subtractive dither, Schuchman, 1964):

    z' = lo + step * (code - u + 1/2)

Still E[z'] = z, but the error is uniform in a step around zero whatever z is, with variance step^2 / 12: half of
what stochastic rounding has on average. No value stays what it is, on the grid or off it.

NumPy computes all of it where the memory is the host's, tensors of a CPU included; the same code computes with torch on
a GPU. Both give the same bits.

`O` positions before the channel's dimension, `C` channels, `I` positions after it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from heron.arrays import Array, dtype_name, is_tensor, namespace, plain
from heron.errors import MessageError
from heron.wire.code_bytes import cast, code_bytes, join_codes, separate_codes
from heron.wire.compression import compress, decompress
from heron.wire.payload import (
    COMPRESSED,
    DITHERED,
    FLOATS,
    LEVELS,
    MAX_ELEMENTS,
    Codec,
    check_codes,
    check_finite,
    check_magnitude,
    check_scales,
    check_sent,
    codec_of,
    read_seed,
    read_shape,
)
from heron.zo.uniform import uniform_16

# A step's 2^16th part must be a normal number, or dividing by it would not be exact to a rounding.
_SMALLEST_STEP = 2.0**-109
_FRACTION_BITS = 16
# Temporaries of so many values stay in a core's cache, and small beside the tensor.
_CHUNK_ENTRIES = 1 << 16


def pack_tensor(array: Array, codec: Codec, seed: int, *, zstd: bool = False) -> dict[str, Any]:
    """Write an array in few bytes.

    Channels are dimension 1, or the last one of three (token activations (B, T, D)); fewer than two dimensions are one
    channel.

    Args:
        array: floating values of at most 8 dimensions, of either kind, on any device; computed with in float32.
        codec: `fp32` keeps float32 as it is, `fp16` rounds to nearest, `int8`, `int4` and `dither6` round at random.
        seed: of the rounding, in [0, 2**64).
        zstd: whether to compress the codes where that makes them smaller.

    Returns:
        `CODEC` or, compressed, `CODEC.zstd`: the codes, uint8, shape (number of bytes,); `shape`: int32 (dimensions,);
        for quantised arrays `scales`: lo and step of every channel, float32, shape (2, C); with a dither `seed`:
        int64, shape (1,), two's complement. NumPy arrays, or codes and scales as tensors where `array` is one of a GPU.

    Raises:
        TrainingError: if a value is NaN, infinite or too large for the codec.
        MessageError: if the array is no floating one of at most 8 dimensions and 2^28 values.

    Examples:
        >>> packed = pack_tensor(np.array([[0.0, 2.0], [1.5, 4.0]]), "int8", seed=0)
        >>> unpack_tensor(packed)
        array([[0. , 2. ],
               [1.5, 4. ]], dtype=float32)
    """
    check_sent(array)
    with np.errstate(all="ignore"):  # what overflows is refused
        # NumPy is slow at float16, so that a tensor is rounded to it by torch.
        values = cast(plain(array) if codec in LEVELS else _contiguous(array), "float32")
        if codec in LEVELS:
            values_OCI = values.reshape(_grouped(tuple(values.shape)))
            scales_2C = _scales(values_OCI, codec)
            codes = join_codes(_codes(values_OCI, scales_2C, LEVELS[codec], seed).reshape(-1), codec)
            packed = {"scales": scales_2C}
            if codec in DITHERED:
                packed["seed"] = np.array([seed - 2**64 if seed >= 2**63 else seed], np.int64)
        else:
            check_magnitude((values.min(), values.max()) if math.prod(values.shape) else (), codec)
            # A copy in any case: what is packed does not change with the array.
            codes = plain(cast(values.reshape(-1), FLOATS[codec], copy=True).view(namespace(values).uint8))
            packed = {}
    name: str = codec
    if zstd and (smaller := compress(codes)) is not None:
        name, codes = codec + COMPRESSED, smaller
    return {name: codes, "shape": np.array(values.shape, np.int32), **packed}


def unpack_tensor(packed: Mapping[str, Array], *, max_elements: int = MAX_ELEMENTS) -> Any:
    """Inverse of `pack_tensor`: float32, a NumPy array unless the codes are a tensor of a GPU.

    Args:
        packed: what `pack_tensor` returned, or a stranger's: every size is checked before anything is allocated.
        max_elements: refuse more values.

    Raises:
        MessageError: if it is anything that `pack_tensor` does not return.
    """
    name, codec = codec_of(packed)
    shape = read_shape(packed, max_elements)
    codes: Any = plain(packed[name])
    num_bytes = code_bytes(math.prod(shape), codec)
    if dtype_name(codes) != "uint8" or codes.ndim != 1:
        raise MessageError(f"packed {name}: expected uint8 of one dimension, found {codes.dtype} of {codes.ndim}")
    with np.errstate(all="ignore"):  # what overflows is refused
        scales: Any = plain(packed["scales"]) if codec in LEVELS else None
        if codec in LEVELS:
            check_scales(scales, _grouped(shape)[1], LEVELS[codec])
        if name.endswith(COMPRESSED):
            codes = decompress(codes, num_bytes)
        if len(codes) != num_bytes:
            raise MessageError(f"packed {name}: expected {num_bytes} bytes for shape {shape}, found {len(codes)}")
        if codec not in LEVELS:
            # A copy: the bytes received may lie at an address that floats cannot.
            floats = cast(codes, "uint8", copy=True).view(getattr(namespace(codes), FLOATS[codec]))
            values = cast(floats.reshape(shape), "float32")
            check_finite(values, name)
            return values
        check_codes(codes, codec)
        codes_OCI = separate_codes(codes, codec)[: math.prod(shape)].reshape(_grouped(shape))
        low_C1, step_C1 = scales[..., None]
        if codec in DITHERED:
            return _without_dither(codes_OCI, low_C1, step_C1, read_seed(packed)).reshape(shape)
        # Two roundings, on every device: a fused multiply-add would be another number.
        values_OCI = codes_OCI * step_C1
        values_OCI += low_C1
        return values_OCI.reshape(shape)


def packed_bytes(shape: Sequence[int], codec: Codec) -> int:
    """Bytes of all arrays that `pack_tensor` returns for a shape, without compression.

    Args:
        shape: shape of the tensor.
        codec: its codec.
    """
    scales = 2 * 4 * _grouped(tuple(shape))[1] if codec in LEVELS else 0
    seed = 8 if codec in DITHERED else 0
    return code_bytes(math.prod(shape), codec) + scales + seed + 4 * len(shape)


def _grouped(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The shape as (O, C, I)."""
    if len(shape) < 2:
        return 1, 1, math.prod(shape)
    channel = 2 if len(shape) == 3 else 1
    return math.prod(shape[:channel]), shape[channel], math.prod(shape[channel + 1 :])


def _contiguous(array: Array) -> Array:
    return array.detach().contiguous() if is_tensor(array) else plain(array)


def _scales(values_OCI: Any, codec: str) -> Any:
    """Lo and step of every channel, shape (2, C); a step of 0 where all values are the same."""
    xp = namespace(values_OCI)
    if not math.prod(values_OCI.shape):
        return xp.zeros((2, values_OCI.shape[1]), dtype=values_OCI.dtype, device=values_OCI.device)
    # Zero is added because the smallest of 0.0 and -0.0 is either, depending on the library and the order.
    low_C, high_C = xp.amin(values_OCI, axis=(0, 2)) + 0.0, xp.amax(values_OCI, axis=(0, 2))
    check_magnitude((low_C, high_C), codec)
    # By an array: a GPU divides by a number of the host as a product with its inverse, which rounds otherwise.
    step_C = (high_C - low_C) / xp.full_like(low_C, LEVELS[codec])
    return xp.stack((low_C, xp.where(high_C == low_C, 0.0, xp.clip(step_C, _SMALLEST_STEP, None))))


def _codes(values_OCI: Any, scales_2C: Any, num_levels: int, seed: int) -> Any:
    """Stochastically rounded position on the grid, uint8, shape (O, C, I).

    In fixed point with 16 bits of fraction: adding 16 random bits and dropping them rounds up with the probability
    that the fraction says, and never from a grid point.
    """
    xp = namespace(values_OCI)
    codes_OCI = xp.empty_like(values_OCI, dtype=xp.uint8)
    low_C1, fine_step_C1 = scales_2C[..., None]
    fine_step_C1 = xp.clip(fine_step_C1, _SMALLEST_STEP, None) / 2**_FRACTION_BITS
    for rows, added in _chunks(values_OCI, seed):
        position = values_OCI[rows] - low_C1
        position /= fine_step_C1
        # Rounding may put the largest value a hair above the last grid point.
        xp.clip(xp.round(position, out=position), None, num_levels << _FRACTION_BITS, out=position)
        fixed = cast(position, "int32")
        fixed += added
        fixed >>= _FRACTION_BITS
        codes_OCI[rows] = fixed
    return codes_OCI


def _without_dither(codes_OCI: Any, low_C1: Any, step_C1: Any, seed: int) -> Any:
    """Values lo + step * (code - u + 1/2), u being what `_codes` has added; float32, shape (O, C, I).

    The 16 bits of u have a mean of 1/2 - 2^-17: subtracting them from that leaves no bias.
    """
    xp = namespace(codes_OCI)
    values_OCI = xp.empty_like(codes_OCI, dtype=xp.float32)
    fine_step_C1 = step_C1 / 2**_FRACTION_BITS
    middle_C1 = fine_step_C1 * ((2**_FRACTION_BITS - 1) / 2) + low_C1
    for rows, added in _chunks(codes_OCI, seed):
        fixed = cast(codes_OCI[rows], "int32")
        fixed <<= _FRACTION_BITS
        fixed -= added
        values = cast(fixed, "float32")
        values *= fine_step_C1
        values += middle_C1
        values_OCI[rows] = values
    return values_OCI


def _chunks(array_OCI: Any, seed: int) -> Iterator[tuple[slice, Any]]:
    """Rows of O at a time, and for each of their values what is added to it, u in 2^-16."""
    row = math.prod(array_OCI.shape[1:]) if len(array_OCI) else 0
    count = max(1, _CHUNK_ENTRIES // max(1, row))
    for start in range(0, len(array_OCI), count):
        rows = slice(start, start + count)
        chunk = array_OCI[rows]
        stop = start * row + math.prod(chunk.shape)
        yield rows, uniform_16(seed, start * row, stop, like=chunk).reshape(chunk.shape)
