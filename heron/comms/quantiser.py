"""One tensor in few bytes: float16, or 8 or 4 bits a value with stochastic rounding; lossless compression on top.

Every channel has an affine grid of its own, from its smallest value to its largest, so that nothing is ever clipped:

    lo = min z,  step = (max z - lo) / L,  code = floor((z - lo) / step + u),  z' = lo + step * code

with L = 255 or 15 and u uniform in [0, 1), a function of (seed, position). So E[z'] = z, |z' - z| < step and the
variance is at most step^2 / 4, up to float32 rounding and a bias of at most 2^-17 step, because u has 16 bits.
Values on the grid, the smallest among them, stay what they are: the zeros of a ReLU remain zeros.

`O` positions before the channel's dimension, `C` channels, `I` positions after it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from heron.comms.compression import compress, decompress
from heron.errors import MessageError, TrainingError
from heron.zo import uniform_16

Codec = Literal["fp32", "fp16", "int8", "int4"]
CODECS: tuple[Codec, ...] = get_args(Codec)

MAX_DIMENSIONS = 8
MAX_ELEMENTS = 2**28
"""A gibibyte in float32: the largest tensor that is unpacked, whatever its sender says."""
COMPRESSED = ".zstd"
"""Suffix of the name of codes that are compressed."""
_LEVELS = {"int8": 255, "int4": 15}
_BITS = {"fp32": 32, "fp16": 16, "int8": 8, "int4": 4}
_FLOATS = {"fp32": torch.float32, "fp16": torch.float16}
# Below 2^126 no range, no step and no sum of the formulas overflows; a network beyond it has diverged.
_LARGEST = {"fp32": torch.finfo(torch.float32).max, "fp16": torch.finfo(torch.float16).max}
_LARGEST_QUANTISED = 2.0**126
# A step's 2^16th part must be a normal number, or dividing by it would not be exact to a rounding.
_SMALLEST_STEP = 2.0**-109
_FRACTION_BITS = 16
# Temporaries of so many values stay in a core's cache, and small beside the tensor.
_CHUNK_ENTRIES = 1 << 16


def pack_tensor(tensor: Tensor, codec: Codec, seed: int, *, zstd: bool = False) -> dict[str, Tensor]:
    """Write a tensor in few bytes.

    Channels are dimension 1, or the last one of three (token activations (B, T, D)); fewer than two dimensions are one
    channel.

    Args:
        tensor: floating values of at most 8 dimensions, on any device; computed with in float32.
        codec: `fp32` keeps float32 as it is, `fp16` rounds to nearest, `int8` and `int4` round stochastically.
        seed: of the rounding, in [0, 2**64).
        zstd: whether to compress the codes where that makes them smaller.

    Returns:
        `CODEC` or, compressed, `CODEC.zstd`: the codes, uint8, shape (number of bytes,); `shape`: int32 (dimensions,);
        for quantised tensors `scales`: lo and step of every channel, float32, shape (2, C).

    Raises:
        TrainingError: if a value is NaN, infinite or too large for the codec.
        MessageError: if the tensor is no floating tensor of at most 8 dimensions and 2^28 values.

    Examples:
        >>> packed = pack_tensor(torch.tensor([[0.0, 2.0], [1.5, 4.0]]), "int8", seed=0)
        >>> unpack_tensor(packed)
        tensor([[0.0000, 2.0000],
                [1.5000, 4.0000]])
    """
    _check_sent(tensor)
    values = tensor.detach().float().contiguous()
    if codec in _LEVELS:
        values_OCI = values.view(_grouped(tuple(values.shape)))
        scales_2C = _scales(values_OCI, codec)
        codes = _codes(values_OCI, scales_2C, _LEVELS[codec], seed).view(-1)
        packed = {"scales": scales_2C}
        if codec == "int4":
            codes = _pairs(codes)
    else:
        _check_magnitude(values.aminmax() if values.numel() else (), codec)
        # A copy in any case: what is packed does not change with the tensor.
        codes = values.to(_FLOATS[codec], copy=True).reshape(-1).view(torch.uint8)
        packed = {}
    name: str = codec
    if zstd and (smaller := compress(codes)) is not None:
        name, codes = codec + COMPRESSED, smaller
    return {name: codes, "shape": torch.tensor(values.shape, dtype=torch.int32), **packed}


def unpack_tensor(packed: Mapping[str, Tensor], *, max_elements: int = MAX_ELEMENTS) -> Tensor:
    """Inverse of `pack_tensor`: float32, where the codes are.

    Args:
        packed: what `pack_tensor` returned, or a stranger's: every size is checked before anything is allocated.
        max_elements: refuse more values.

    Raises:
        MessageError: if it is anything that `pack_tensor` does not return.
    """
    name, codec = _codec_of(packed)
    shape = _read_shape(packed, max_elements)
    codes, num_bytes = packed[name], _code_bytes(math.prod(shape), codec)
    if codes.dtype != torch.uint8 or codes.dim() != 1:
        raise MessageError(f"packed {name}: expected uint8 of one dimension, found {codes.dtype} of {codes.dim()}")
    if codec in _LEVELS:
        _check_scales(packed["scales"], _grouped(shape)[1], _LEVELS[codec])
    if name.endswith(COMPRESSED):
        codes = decompress(codes, num_bytes)
    if len(codes) != num_bytes:
        raise MessageError(f"packed {name}: expected {num_bytes} bytes for shape {shape}, found {len(codes)}")
    if codec not in _LEVELS:
        # A copy: the bytes received may lie at an address that floats cannot.
        values = codes.clone().view(_FLOATS[codec]).view(shape).float()
        _check_received(values, name)
        return values
    if codec == "int4":
        codes = _halves(codes)[: math.prod(shape)]
    low_C1, step_C1 = packed["scales"].to(codes.device).unsqueeze(-1)
    # Two roundings, on every device: a fused multiply-add would be another number.
    return codes.view(_grouped(shape)).mul(step_C1).add_(low_C1).view(shape)


def packed_bytes(shape: Sequence[int], codec: Codec) -> int:
    """Bytes of all tensors that `pack_tensor` returns for a shape, without compression."""
    scales = 2 * 4 * _grouped(tuple(shape))[1] if codec in _LEVELS else 0
    return _code_bytes(math.prod(shape), codec) + scales + 4 * len(shape)


def _grouped(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The shape as (O, C, I)."""
    if len(shape) < 2:
        return 1, 1, math.prod(shape)
    channel = 2 if len(shape) == 3 else 1
    return math.prod(shape[:channel]), shape[channel], math.prod(shape[channel + 1 :])


def _code_bytes(num_elements: int, codec: str) -> int:
    return -(-num_elements * _BITS[codec] // 8)


def _scales(values_OCI: Tensor, codec: str) -> Tensor:
    """Lo and step of every channel, shape (2, C)."""
    if not values_OCI.numel():
        scales_2C = values_OCI.new_zeros(2, values_OCI.shape[1])
        scales_2C[1] = _SMALLEST_STEP
        return scales_2C
    low_C, high_C = values_OCI.amin(dim=(0, 2)), values_OCI.amax(dim=(0, 2))
    _check_magnitude((low_C, high_C), codec)
    # By a tensor: a GPU divides by a number of the host as a product with its inverse, which rounds otherwise.
    step_C = (high_C - low_C) / torch.full_like(low_C, _LEVELS[codec])
    return torch.stack((low_C, step_C.clamp_(min=_SMALLEST_STEP)))


def _codes(values_OCI: Tensor, scales_2C: Tensor, num_levels: int, seed: int) -> Tensor:
    """Stochastically rounded position on the grid, uint8, shape (O, C, I).

    In fixed point with 16 bits of fraction: adding 16 random bits and dropping them rounds up with the probability
    that the fraction says, and never from a grid point.
    """
    codes_OCI = torch.empty(values_OCI.shape, dtype=torch.uint8, device=values_OCI.device)
    low_C1, fine_step_C1 = scales_2C.unsqueeze(-1)
    fine_step_C1 = fine_step_C1 / 2**_FRACTION_BITS
    row = values_OCI[:1].numel()
    rows = max(1, _CHUNK_ENTRIES // max(1, row))
    for start in range(0, len(values_OCI), rows):
        chunk = values_OCI[start : start + rows]
        # Rounding may put the largest value a hair above the last grid point.
        fixed = chunk.sub(low_C1).div_(fine_step_C1).round_().clamp_(max=num_levels << _FRACTION_BITS).int()
        fixed += uniform_16(seed, start * row, start * row + chunk.numel(), chunk.device).view(chunk.shape)
        codes_OCI[start : start + rows] = fixed.bitwise_right_shift_(_FRACTION_BITS)
    return codes_OCI


def _pairs(codes: Tensor) -> Tensor:
    """Two codes of four bits to a byte, the first in the low half."""
    low, high = codes[0::2], codes[1::2]
    pairs = low.clone()
    pairs[: len(high)] |= high << 4
    return pairs


def _halves(pairs: Tensor) -> Tensor:
    return torch.stack((pairs & 15, pairs >> 4), dim=1).view(-1)


def _check_sent(tensor: Tensor) -> None:
    if not tensor.is_floating_point() or tensor.dim() > MAX_DIMENSIONS or tensor.numel() > MAX_ELEMENTS:
        raise MessageError(
            f"expected a floating tensor of at most {MAX_DIMENSIONS} dimensions and {MAX_ELEMENTS} values to pack, "
            f"found {tensor.dtype} of shape {tuple(tensor.shape)}"
        )


def _check_magnitude(extremes: Sequence[Tensor], codec: str) -> None:
    """Refuse values beyond the largest of the codec; NaN is in every extreme that it has a part in."""
    largest = _LARGEST.get(codec, _LARGEST_QUANTISED)
    found = [float(extreme.abs().max()) for extreme in extremes if extreme.numel()]
    if not all(value <= largest for value in found):
        raise TrainingError(
            f"expected finite values of at most {largest:.3g} to pack as {codec}, found "
            f"{next(value for value in found if not value <= largest)}; lower client.learning_rate, check the data for "
            f"NaN, or choose another codec"
        )


def _codec_of(packed: Mapping[str, Tensor]) -> tuple[str, str]:
    """The name of the codes and their codec."""
    names = [name for name in packed if name.removesuffix(COMPRESSED) in CODECS]
    codec = names[0].removesuffix(COMPRESSED) if len(names) == 1 else ""
    expected = {*names, "shape"} | ({"scales"} if codec in _LEVELS else set())
    if not codec or packed.keys() != expected:
        found = ", ".join(sorted(map(repr, packed)))[:80]
        raise MessageError(f"expected codes of one of {', '.join(CODECS)} with their shape and scales, found {found}")
    return names[0], codec


def _read_shape(packed: Mapping[str, Tensor], max_elements: int) -> tuple[int, ...]:
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


def _check_scales(scales: Tensor, num_channels: int, num_levels: int) -> None:
    if scales.dtype != torch.float32 or scales.shape != (2, num_channels):
        raise MessageError(
            f"expected packed scales as float32 of shape (2, {num_channels}), found {scales.dtype} of shape "
            f"{tuple(scales.shape)[:8]}"
        )
    low_C, step_C = scales
    extremes = low_C.abs() + step_C * num_levels
    if not bool(torch.isfinite(extremes).all()) or bool((step_C < 0).any()):
        raise MessageError("expected packed scales of finite range and steps >= 0, found others")


def _check_received(values: Tensor, name: str) -> None:
    if not bool(torch.isfinite(values).all()):
        raise MessageError(f"packed {name}: expected finite values, found NaN or infinity")
