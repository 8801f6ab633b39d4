"""One tensor in few bytes: float16, or 8, 4 or 8/3 bits a value with random rounding; lossless compression on top.

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

`O` positions before the channel's dimension, `C` channels, `I` positions after it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from heron.errors import MessageError
from heron.wire.compression import compress, decompress
from heron.wire.payload import (
    CODES_PER_BYTE,
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
from heron.zo import uniform_16

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
        codec: `fp32` keeps float32 as it is, `fp16` rounds to nearest, `int8`, `int4` and `dither6` round at random.
        seed: of the rounding, in [0, 2**64).
        zstd: whether to compress the codes where that makes them smaller.

    Returns:
        `CODEC` or, compressed, `CODEC.zstd`: the codes, uint8, shape (number of bytes,); `shape`: int32 (dimensions,);
        for quantised tensors `scales`: lo and step of every channel, float32, shape (2, C); with a dither `seed`:
        int64, shape (1,), two's complement.

    Raises:
        TrainingError: if a value is NaN, infinite or too large for the codec.
        MessageError: if the tensor is no floating tensor of at most 8 dimensions and 2^28 values.

    Examples:
        >>> packed = pack_tensor(torch.tensor([[0.0, 2.0], [1.5, 4.0]]), "int8", seed=0)
        >>> unpack_tensor(packed)
        tensor([[0.0000, 2.0000],
                [1.5000, 4.0000]])
    """
    check_sent(tensor)
    values = tensor.detach().float().contiguous()
    if codec in LEVELS:
        values_OCI = values.view(_grouped(tuple(values.shape)))
        scales_2C = _scales(values_OCI, codec)
        codes = _joined(_codes(values_OCI, scales_2C, LEVELS[codec], seed).view(-1), codec)
        packed = {"scales": scales_2C}
        if codec in DITHERED:
            packed["seed"] = torch.tensor([seed - 2**64 if seed >= 2**63 else seed])
    else:
        check_magnitude(values.aminmax() if values.numel() else (), codec)
        # A copy in any case: what is packed does not change with the tensor.
        codes = values.to(FLOATS[codec], copy=True).reshape(-1).view(torch.uint8)
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
    name, codec = codec_of(packed)
    shape = read_shape(packed, max_elements)
    codes, num_bytes = packed[name], _code_bytes(math.prod(shape), codec)
    if codes.dtype != torch.uint8 or codes.dim() != 1:
        raise MessageError(f"packed {name}: expected uint8 of one dimension, found {codes.dtype} of {codes.dim()}")
    if codec in LEVELS:
        check_scales(packed["scales"], _grouped(shape)[1], LEVELS[codec])
    if name.endswith(COMPRESSED):
        codes = decompress(codes, num_bytes)
    if len(codes) != num_bytes:
        raise MessageError(f"packed {name}: expected {num_bytes} bytes for shape {shape}, found {len(codes)}")
    if codec not in LEVELS:
        # A copy: the bytes received may lie at an address that floats cannot.
        values = codes.clone().view(FLOATS[codec]).view(shape).float()
        check_finite(values, name)
        return values
    check_codes(codes, codec)
    codes_OCI = _separated(codes, codec)[: math.prod(shape)].view(_grouped(shape))
    low_C1, step_C1 = packed["scales"].to(codes.device).unsqueeze(-1)
    if codec in DITHERED:
        return _without_dither(codes_OCI, low_C1, step_C1, read_seed(packed)).view(shape)
    # Two roundings, on every device: a fused multiply-add would be another number.
    return codes_OCI.mul(step_C1).add_(low_C1).view(shape)


def packed_bytes(shape: Sequence[int], codec: Codec) -> int:
    """Bytes of all tensors that `pack_tensor` returns for a shape, without compression."""
    scales = 2 * 4 * _grouped(tuple(shape))[1] if codec in LEVELS else 0
    seed = 8 if codec in DITHERED else 0
    return _code_bytes(math.prod(shape), codec) + scales + seed + 4 * len(shape)


def _grouped(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The shape as (O, C, I)."""
    if len(shape) < 2:
        return 1, 1, math.prod(shape)
    channel = 2 if len(shape) == 3 else 1
    return math.prod(shape[:channel]), shape[channel], math.prod(shape[channel + 1 :])


def _code_bytes(num_elements: int, codec: str) -> int:
    if codec in LEVELS:
        return -(-num_elements // CODES_PER_BYTE[codec])
    return num_elements * FLOATS[codec].itemsize


def _scales(values_OCI: Tensor, codec: str) -> Tensor:
    """Lo and step of every channel, shape (2, C); a step of 0 where all values are the same."""
    if not values_OCI.numel():
        return values_OCI.new_zeros(2, values_OCI.shape[1])
    low_C, high_C = values_OCI.amin(dim=(0, 2)), values_OCI.amax(dim=(0, 2))
    check_magnitude((low_C, high_C), codec)
    # By a tensor: a GPU divides by a number of the host as a product with its inverse, which rounds otherwise.
    step_C = (high_C - low_C) / torch.full_like(low_C, LEVELS[codec])
    return torch.stack((low_C, step_C.clamp_(min=_SMALLEST_STEP).masked_fill_(high_C == low_C, 0.0)))


def _codes(values_OCI: Tensor, scales_2C: Tensor, num_levels: int, seed: int) -> Tensor:
    """Stochastically rounded position on the grid, uint8, shape (O, C, I).

    In fixed point with 16 bits of fraction: adding 16 random bits and dropping them rounds up with the probability
    that the fraction says, and never from a grid point.
    """
    codes_OCI = torch.empty(values_OCI.shape, dtype=torch.uint8, device=values_OCI.device)
    low_C1, fine_step_C1 = scales_2C.unsqueeze(-1)
    fine_step_C1 = fine_step_C1.clamp(min=_SMALLEST_STEP) / 2**_FRACTION_BITS
    for rows, added in _chunks(values_OCI, seed):
        # Rounding may put the largest value a hair above the last grid point.
        fixed = values_OCI[rows].sub(low_C1).div_(fine_step_C1).round_().clamp_(max=num_levels << _FRACTION_BITS).int()
        codes_OCI[rows] = fixed.add_(added).bitwise_right_shift_(_FRACTION_BITS)
    return codes_OCI


def _without_dither(codes_OCI: Tensor, low_C1: Tensor, step_C1: Tensor, seed: int) -> Tensor:
    """Values lo + step * (code - u + 1/2), u being what `_codes` has added; float32, shape (O, C, I).

    The 16 bits of u have a mean of 1/2 - 2^-17: subtracting them from that leaves no bias.
    """
    values_OCI = torch.empty(codes_OCI.shape, device=codes_OCI.device)
    fine_step_C1 = step_C1 / 2**_FRACTION_BITS
    middle_C1 = fine_step_C1.mul((2**_FRACTION_BITS - 1) / 2).add_(low_C1)
    for rows, added in _chunks(codes_OCI, seed):
        fixed = codes_OCI[rows].int().bitwise_left_shift_(_FRACTION_BITS).sub_(added)
        values_OCI[rows] = fixed.mul(fine_step_C1).add_(middle_C1)
    return values_OCI


def _chunks(tensor_OCI: Tensor, seed: int) -> Iterator[tuple[slice, Tensor]]:
    """Rows of O at a time, and for each of their values what is added to it, u in 2^-16."""
    row = tensor_OCI[:1].numel()
    count = max(1, _CHUNK_ENTRIES // max(1, row))
    for start in range(0, len(tensor_OCI), count):
        rows = slice(start, start + count)
        chunk = tensor_OCI[rows]
        yield rows, uniform_16(seed, start * row, start * row + chunk.numel(), like=chunk).view(chunk.shape)


def _joined(codes: Tensor, codec: str) -> Tensor:
    """As many codes to a byte as fit, as digits of a number below 256, the first the lowest."""
    base, per_byte = LEVELS[codec] + 1, CODES_PER_BYTE[codec]
    if per_byte == 1:
        return codes
    joined = codes[::per_byte].clone()
    for place in range(1, per_byte):
        part = codes[place::per_byte]
        joined[: len(part)] += part * base**place
    return joined


def _separated(joined: Tensor, codec: str) -> Tensor:
    """Inverse of `_joined`; the last byte may hold more codes than there were."""
    base, per_byte = LEVELS[codec] + 1, CODES_PER_BYTE[codec]
    if per_byte == 1:
        return joined
    digits = [joined.div(base**place, rounding_mode="floor") % base for place in range(per_byte)]
    return torch.stack(digits, dim=1).view(-1)
