"""Packed tensors: unbiased, within bounds that are derived here, the same as a literal oracle."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from heron.arrays import Array, plain
from heron.errors import MessageError, TrainingError
from heron.tensors import as_tensor
from heron.wire import CODECS, pack_tensor, packed_bytes, unpack_tensor
from heron.wire.payload import DITHERED, MAX_DIMENSIONS
from tests import tiers
from tests.reference.quantiser import quantise

LEVELS = {"int8": 255, "int4": 15, "dither6": 5}
PER_BYTE = {"int8": 1, "int4": 2, "dither6": 3}
QUANTISED = pytest.mark.parametrize("codec", list(LEVELS))
STOCHASTIC = pytest.mark.parametrize("codec", ["int8", "int4"])
EVERY = pytest.mark.parametrize("codec", CODECS)
SHAPES = st.lists(st.integers(0, 5), max_size=5).map(tuple)


def round_trip(tensor: Tensor, codec: str, seed: int = 0, *, zstd: bool = False) -> Tensor:
    return unpacked(pack_tensor(tensor, codec, seed, zstd=zstd))


def unpacked(packed: dict[str, Array]) -> Tensor:
    return as_tensor(unpack_tensor(packed))


def random(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def channels(tensor: Tensor) -> Tensor:
    """The same values, channels first: shape (C, n)."""
    if tensor.dim() < 2:
        return tensor.reshape(1, -1)
    return tensor.movedim(2 if tensor.dim() == 3 else 1, 0).flatten(1)


def in_bytes(codes: list[int], codec: str) -> list[int]:
    """Digits of numbers below 256, the first code the lowest; zeros fill the last byte."""
    base, per_byte = LEVELS[codec] + 1, PER_BYTE[codec]
    rows = [codes[start : start + per_byte] for start in range(0, len(codes), per_byte)]
    return [sum(code * base**place for place, code in enumerate(row)) for row in rows]


def step_of(tensor: Tensor, codec: str) -> Tensor:
    """Range / L of every channel, float64, shape (C, 1); rows of `channels`."""
    rows = channels(tensor).double()
    return (rows.amax(1, keepdim=True) - rows.amin(1, keepdim=True)) / LEVELS[codec]


@pytest.mark.parametrize("codec", tiers.rows(LEVELS, {"int4"}))
@given(shape=SHAPES, spread=st.sampled_from([1e-30, 1e-3, 1.0, 1e30]), seed=st.integers(0, 2**64 - 1))
@settings(max_examples=60, deadline=None)
def test_equals_the_literal_oracle(codec: str, shape: tuple[int, ...], spread: float, seed: int) -> None:
    tensor = random(shape, seed % 2**32) * spread
    codes, decoded = quantise(tensor.flatten().tolist(), shape, LEVELS[codec], seed, dithered=codec in DITHERED)
    packed = pack_tensor(tensor, codec, seed)
    assert packed[codec].tolist() == in_bytes(codes, codec)
    assert unpacked(packed).flatten().tolist() == decoded
    assert unpacked(packed).shape == shape


@QUANTISED
@given(shape=SHAPES, offset=st.sampled_from([0.0, 1.0, -1e4]), spread=st.sampled_from([1e-20, 1.0, 1e5, 1e37]))
@settings(max_examples=100, deadline=None)
def test_errors_are_less_than_a_step(codec: str, shape: tuple[int, ...], offset: float, spread: float) -> None:
    """In exact arithmetic |z' - z| < step, because floor(x + u) with u in [0, 1) is less than 1 from x.

    Subtracting u leaves floor(x + u) - u, which lies in (x - 1, x]: half a step from x with 1/2 added.

    Float32 adds: the step and the position round once each, 2^-23 of a position of at most L; the position to 2^-17 of
    a step; product and sum 2^-23 of values of at most |lo| + range.
    """
    tensor = random(shape, 1) * spread + offset
    error = channels(round_trip(tensor, codec).double() - tensor.double()).abs()
    step = step_of(tensor, codec) if tensor.numel() else 0.0
    largest = float(tensor.abs().max()) if tensor.numel() else 0.0
    float32 = LEVELS[codec] * 2.0**-22 * step + 2.0**-17 * step + 3 * 2.0**-23 * largest
    assert bool((error <= step / (2 if codec in DITHERED else 1) + float32 + 2.0**-109).all())


@QUANTISED
def test_unbiased_within_four_standard_errors(codec: str) -> None:
    """Every value by itself, and all together: the standard error of a mean of n is step sqrt(f (1 - f) / n).

    With the dither subtracted an error is uniform in one step: step sqrt(1 / 12 n).
    """
    count, tensor = 1000, random((40, 1), 3)
    tensor[0], tensor[1] = -3.0, 3.0  # the grid's ends
    step = float(step_of(tensor, codec))
    fraction = ((tensor.double() + 3.0) / step) % 1.0
    draws = torch.stack([round_trip(tensor, codec, seed).double() for seed in range(count)])
    # 2^-17 of a step is the bias that 16 random bits leave, 2^-21 covers float32 sums of at most 6.
    slack = 2.0**-17 * step + 2.0**-21
    errors = draws - tensor.double()
    variance = torch.full_like(fraction, 1 / 12) if codec in DITHERED else fraction * (1 - fraction)
    standard_error = step * (variance / count).sqrt()
    assert bool((errors.mean(0).abs() <= 4 * standard_error + slack).all())
    together = float(standard_error.square().sum().sqrt()) / len(tensor)
    assert abs(float(errors.mean())) <= 4 * together + slack
    # Both neighbours occur.
    assert bool((draws.amax(0) > draws.amin(0))[(fraction > 0.05) & (fraction < 0.95)].all())


@STOCHASTIC
def test_the_variance_is_at_most_a_quarter_of_the_step_squared(codec: str) -> None:
    """f (1 - f) step^2, which is largest at f = 1/2. A sample variance of n has a standard error below sqrt(2/n)."""
    count, tensor = 2000, torch.tensor([[0.0], [1.0], [0.5 / LEVELS[codec]], [0.25 / LEVELS[codec]]])
    step = 1.0 / LEVELS[codec]
    draws = torch.stack([round_trip(tensor, codec, seed).double() for seed in range(count)])
    variance = draws.var(0).flatten() / step**2
    assert variance[:2].tolist() == [0.0, 0.0]  # the ends of the grid stay what they are
    for found, expected in zip(variance[2:].tolist(), [0.25, 0.1875], strict=True):
        assert abs(found - expected) <= 4 * expected * math.sqrt(2 / count)


def test_a_dither_leaves_a_twelfth_of_the_step_squared_wherever_the_value_lies() -> None:
    """A uniform error of width 1: variance 1/12, fourth moment 1/80, so a variance of n has a standard error of
    sqrt((1/80 - 1/144) / n) = sqrt(1 / (180 n)). Stochastic rounding has 1/6 on average over the fractions."""
    count, levels = 2000, LEVELS["dither6"]
    tensor = torch.tensor([[0.0], [1.0], [0.5 / levels], [0.25 / levels], [2 / levels]])
    draws = torch.stack([round_trip(tensor, "dither6", seed).double() for seed in range(count)])
    for found in (draws.var(0).flatten() * levels**2).tolist():
        assert abs(found - 1 / 12) <= 4 / math.sqrt(180 * count)


def test_fp16_rounds_to_nearest() -> None:
    """|error| <= 2^-11 |z| for normal numbers of float16, half of its smallest number 2^-24 below."""
    tensor = torch.cat([random((1000,)) * scale for scale in (1e-6, 1e-3, 1.0, 1e4)])
    error = (round_trip(tensor, "fp16").double() - tensor.double()).abs()
    assert bool((error <= torch.maximum(2.0**-11 * tensor.double().abs(), torch.tensor(2.0**-25))).all())


@EVERY
@pytest.mark.parametrize("zstd", [False, True])
@given(shape=SHAPES, seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_shapes_sizes_and_compression(codec: str, zstd: bool, shape: tuple[int, ...], seed: int) -> None:
    tensor = random(shape, seed).relu()
    packed = pack_tensor(tensor, codec, seed, zstd=zstd)
    whole = pack_tensor(tensor, codec, seed)
    num_bytes = sum(entry.nbytes for entry in packed.values())
    assert num_bytes <= packed_bytes(shape, codec) == sum(entry.nbytes for entry in whole.values())
    assert (f"{codec}.zstd" in packed) == (num_bytes < packed_bytes(shape, codec))
    found = unpacked(packed)
    assert (found.shape, found.dtype) == (shape, torch.float32)
    assert torch.equal(found, unpacked(whole))  # compression loses nothing
    if codec == "fp32":
        assert torch.equal(found, tensor)


@pytest.mark.parametrize(
    ("shape", "num_channels"), [((2, 3, 4, 4), 3), ((2, 4, 3), 3), ((2, 3), 3), ((6,), 1), ((), 1)]
)
def test_channels(shape: tuple[int, ...], num_channels: int) -> None:
    assert pack_tensor(random(shape), "int8", 0)["scales"].shape == (2, num_channels)
    assert packed_bytes(shape, "dither6") == -(-math.prod(shape) // 3) + 8 * num_channels + 8 + 4 * len(shape)
    assert packed_bytes(shape, "int4") == -(-math.prod(shape) // 2) + 8 * num_channels + 4 * len(shape)


@QUANTISED
@pytest.mark.parametrize("shape", [(4, 3, 2, 2), (4, 2, 3), (4, 3)])
def test_channels_do_not_depend_on_each_other(codec: str, shape: tuple[int, ...]) -> None:
    tensor = random(shape)
    before = (slice(None),) * (2 if len(shape) == 3 else 1)
    index, other = (*before, 0), tensor.clone()
    other[(*before, slice(1, None))] *= 1e6
    assert torch.equal(round_trip(tensor, codec)[index], round_trip(other, codec)[index])


@STOCHASTIC
def test_values_on_the_grid_stay(codec: str) -> None:
    """Integers from 0 to L have step 1: whatever the random bits, nothing moves. So do the zeros of a ReLU."""
    grid = torch.arange(LEVELS[codec] + 1.0).repeat(7).view(-1, 1)
    for seed in range(200):
        assert torch.equal(round_trip(grid, codec, seed), grid)
    rectified = random((100, 3)).relu()
    assert bool((round_trip(rectified, codec)[rectified == 0] == 0).all())


@EVERY
@pytest.mark.parametrize("value", [0.0, 1.5, -3.25, 1e-38, 6e4])
def test_constants_are_exact(codec: str, value: float) -> None:
    expected = torch.full((2, 3, 2), value)
    if codec == "fp16":
        expected = expected.half().float()
    for tensor in (torch.full((2, 3, 2), value), torch.full((1,), value), torch.tensor(value)):
        assert bool((round_trip(tensor, codec) == expected.flatten()[0]).all())


@STOCHASTIC
def test_extremes_are_not_clipped(codec: str) -> None:
    for seed in range(50):
        tensor = random((64, 2), seed) * 10.0 ** (seed - 25)
        found = round_trip(tensor, codec, seed)
        assert torch.equal(found.amin(0), tensor.amin(0))
        torch.testing.assert_close(found.amax(0), tensor.amax(0), rtol=2.0**-20, atol=0.0)


@STOCHASTIC
def test_the_largest_value_never_leaves_the_grid(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Float32 puts some largest values above L steps: with the largest random bits their codes would wrap to 0."""
    monkeypatch.setattr(
        "heron.wire.quantiser.uniform_16",
        lambda _, start, stop, **kwargs: np.full(stop - start, 65535, np.int32),
    )
    tensor = torch.stack((torch.zeros(10_000), random((10_000,)).abs() + 0.1))
    torch.testing.assert_close(round_trip(tensor, codec)[1], tensor[1], rtol=2.0**-20, atol=0.0)


@QUANTISED
def test_huge_and_tiny_ranges_in_one_tensor(codec: str) -> None:
    huge = torch.tensor([[2.0**126, 1e-44, 1.0, 1e30], [-(2.0**126), 0.0, 1.0, 1e30 + 1e24], [1.0, 0.0, 1.0, 1e30]])
    found = round_trip(huge, codec)
    assert bool(torch.isfinite(found).all())
    assert bool((channels(found - huge).abs() <= step_of(huge, codec) * (1 + 2.0**-10) + 1e-30).all())


@EVERY
def test_layouts_dtypes_and_devices_do_not_matter(codec: str) -> None:
    tensor = random((6, 4, 5, 3))
    expected = pack_tensor(tensor, codec, 9)
    for other in (
        tensor.to(memory_format=torch.channels_last),
        tensor.double(),
        tensor.clone().requires_grad_(),
        tensor.movedim(0, 3).contiguous().movedim(3, 0),
    ):
        found = pack_tensor(other, codec, 9)
        assert found.keys() == expected.keys()
        assert all(np.array_equal(found[name], expected[name]) for name in expected)
    assert torch.equal(round_trip(tensor.bfloat16(), codec, 9), round_trip(tensor.bfloat16().float(), codec, 9))


@EVERY
@given(shape=SHAPES, spread=st.sampled_from([1e-38, 1e-3, 1.0, 1e30]), seed=st.integers(0, 2**64 - 1))
@settings(max_examples=30, deadline=None)
def test_torch_gives_the_bits_of_numpy(codec: str, shape: tuple[int, ...], spread: float, seed: int) -> None:
    """On a GPU the same code computes with torch; here it does on the CPU."""
    tensor = random(shape, seed % 2**32) * (spread if codec != "fp16" else 1.0)
    expected = pack_tensor(tensor, codec, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("heron.wire.quantiser.plain", lambda x: x.contiguous() if isinstance(x, Tensor) else plain(x))
        found = pack_tensor(tensor, codec, seed)
        assert isinstance(found[codec], Tensor)
        decoded = unpack_tensor(found)
    assert isinstance(decoded, Tensor)
    assert decoded.numpy().tobytes() == unpack_tensor(expected).tobytes()
    assert {name: as_tensor(entry).numpy().tobytes() for name, entry in found.items()} == {
        name: entry.tobytes() for name, entry in expected.items()
    }


@EVERY
def test_what_is_packed_does_not_change_with_the_tensor(codec: str) -> None:
    tensor = random((3, 4))
    packed = pack_tensor(tensor, codec, 0)
    before = unpacked(packed)
    tensor.zero_()
    found = unpacked(packed)
    assert torch.equal(found, before)
    found.zero_()
    assert torch.equal(unpacked(packed), before)


@QUANTISED
def test_chunks_do_not_matter(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = random((50, 7, 3, 3))
    expected = pack_tensor(tensor, codec, 5)
    decoded = unpacked(expected)
    for entries in (1, 63, 64, 1000):
        monkeypatch.setattr("heron.wire.quantiser._CHUNK_ENTRIES", entries)
        assert np.array_equal(pack_tensor(tensor, codec, 5)[codec], expected[codec])
        assert torch.equal(unpacked(expected), decoded)


@QUANTISED
def test_another_seed_rounds_otherwise(codec: str) -> None:
    tensor = random((200, 2))
    assert not torch.equal(round_trip(tensor, codec, 1), round_trip(tensor, codec, 2))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    pack_tensor(tensor, codec, 1)
    assert torch.equal(torch.get_rng_state(), before)


@EVERY
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite(codec: str, value: float) -> None:
    for shape in ((2, 3, 2, 2), (2, 2, 3), (5,), ()):
        tensor = torch.ones(shape)
        tensor.view(-1)[-1] = value
        with pytest.raises(TrainingError, match="expected finite values") as caught:
            pack_tensor(tensor, codec, 0)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spoiled", "reason"),
    [
        ({"seed": torch.tensor([1], dtype=torch.int32)}, "expected a packed seed as int64"),
        ({"seed": torch.tensor([1, 2])}, "expected a packed seed as int64"),
        ({"seed": torch.tensor(1)}, "expected a packed seed as int64"),
        ({"dither6": torch.tensor([215, 216], dtype=torch.uint8)}, "expected bytes of at most 215, found 216"),
        ({"scales": torch.tensor([[0.0], [2.0**128 / 5.25]])}, "expected packed scales of finite range"),
    ],
)
def test_what_no_dither_sends_is_refused(spoiled: dict[str, Tensor], reason: str) -> None:
    packed = pack_tensor(torch.arange(6.0), "dither6", 2**64 - 1)
    assert torch.equal(unpacked(packed), round_trip(torch.arange(6.0), "dither6", 2**64 - 1))
    with pytest.raises(MessageError, match=reason):
        unpack_tensor(packed | spoiled)
    without = {name: entry for name, entry in packed.items() if name != "seed"}
    with pytest.raises(MessageError, match="expected codes"):
        unpack_tensor(without)


def test_values_that_are_too_large() -> None:
    for codec, value in (("fp16", 65520.0), ("int8", 1.01 * 2.0**126), ("int4", -1.01 * 2.0**126)):
        with pytest.raises(TrainingError, match=codec):
            pack_tensor(torch.tensor([value]), codec, 0)


@pytest.mark.parametrize(
    "tensor", [torch.ones(2, dtype=torch.int64), torch.ones([1] * (MAX_DIMENSIONS + 1)), torch.ones(1).expand(2**29)]
)
def test_tensors_that_are_not_packed(tensor: Tensor) -> None:
    with pytest.raises(MessageError, match="expected a floating tensor"):
        pack_tensor(tensor, "int8", 0)
