"""Torch's kernel against whole directions in NumPy; results depend on neither chunk size nor thread count."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from heron.zo import DISTRIBUTIONS, SGD, Adam, Estimator, FlatParameters, Momentum, StepRecord, UpdateRule, replay_
from heron.zo import torch_kernel as kernel_module
from heron.zo.stream import Distribution
from heron.zo.torch_kernel import TorchKernel, chunks
from tests.reference import stream as reference
from tests.reference.problems import bits

DEFAULT_CHUNK = 1 << 17
SEEDS = (2**64 - 1, 0, 12345)


def setup_module() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@settings(max_examples=60, deadline=None)
@given(
    d=st.integers(1, 400),
    seeds=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4),
    dtype=st.sampled_from([np.float32, np.float64]),
    in_place=st.booleans(),
    chunk=st.sampled_from([64, 192, DEFAULT_CHUNK]),
)
def test_sums_whole_directions_bit_for_bit(d: int, seeds: list[int], dtype: type, in_place: bool, chunk: int) -> None:
    """One product and one sum per probe, in the order of the seeds, each rounded."""
    rng = np.random.default_rng(d)
    base, scales = rng.standard_normal(d).astype(dtype), (1e-3 * rng.standard_normal(len(seeds))).astype(dtype)
    expected = base
    for seed, scale in zip(seeds, scales, strict=True):
        expected = expected + scale * reference.rademacher(seed, 0, d).astype(dtype)
    source = torch.from_numpy(base.copy())
    out, copy = source if in_place else torch.full_like(source, torch.nan), torch.full_like(source, torch.nan)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(kernel_module._CHUNK_ENTRIES, "cpu", chunk)
        TorchKernel("rademacher").add_directions_(out, source, seeds, torch.from_numpy(scales), copy_to=copy)
    assert expected.dtype == dtype
    np.testing.assert_array_equal(out.numpy(), expected)
    np.testing.assert_array_equal(copy.numpy(), expected)
    if not in_place:
        np.testing.assert_array_equal(source.numpy(), base)


def test_gaussian_sum() -> None:
    d, scales_P = 1000, torch.tensor([0.5, -0.25, 2.0], dtype=torch.float64)
    out = torch.empty(d, dtype=torch.float64)
    TorchKernel("gaussian").add_directions_(out, torch.ones_like(out), SEEDS, scales_P)
    directions = [reference.gaussian(seed, 0, d) for seed in SEEDS]
    expected = 1.0 + sum(scale * u for scale, u in zip(scales_P.tolist(), directions, strict=True))
    np.testing.assert_allclose(out.numpy(), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("d", [1, 64, DEFAULT_CHUNK, DEFAULT_CHUNK + 1, 3 * DEFAULT_CHUNK + 77])
def test_chunks_cover_everything_once_from_whole_words(d: int) -> None:
    ranges = list(chunks(torch.empty(d)))
    assert [i for start, stop in ranges for i in (start, stop)][::2] == [0, *(stop for _, stop in ranges[:-1])]
    assert ranges[-1][1] == d
    assert all(start % 64 == 0 and stop - start <= DEFAULT_CHUNK for start, stop in ranges)


def probe_and_update(rule: UpdateRule, distribution: Distribution, dtype: torch.dtype, d: int) -> list[Tensor]:
    """Bits of a perturbed `work`, of its projected gradients, and of `theta`, `work` and moments after two updates."""
    module = nn.ParameterList([torch.linspace(-1.0, 1.0, d, dtype=dtype)])
    flat = FlatParameters(module, kernel="torch")
    few = [0, 63, 64, 100, d // 2, d - 1]

    def loss() -> Tensor:
        return (flat.work[few] ** 2).sum()

    with flat.perturbed(SEEDS[0], 1e-3, distribution):
        perturbed = bits(flat.work)
    estimator = Estimator(num_probes=3, distribution=distribution)
    scalars_P = estimator.projected_gradients(flat, loss, SEEDS, loss())
    state = replay_(rule, rule.init(flat.theta), flat, 2 * [StepRecord(SEEDS, scalars_P)], distribution)
    return [perturbed, *map(bits, [scalars_P, flat.theta, flat.work, *state.moments.values()])]


RULES = [SGD(1e-3), Momentum(1e-3), Adam(1e-3)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
@pytest.mark.parametrize("chunk", [64, 100, 1024])
def test_chunk_size_changes_nothing(
    rule: UpdateRule, distribution: Distribution, dtype: torch.dtype, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100 is no multiple of 64: then words are made twice, but the bits stay."""
    whole = probe_and_update(rule, distribution, dtype, 2077)
    monkeypatch.setitem(kernel_module._CHUNK_ENTRIES, "cpu", chunk)
    pieces = probe_and_update(rule, distribution, dtype, 2077)
    assert all(map(torch.equal, whole, pieces))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_default_chunks_change_nothing(
    rule: UpdateRule, distribution: Distribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    d = DEFAULT_CHUNK + 77
    pieces = probe_and_update(rule, distribution, torch.float32, d)
    monkeypatch.setitem(kernel_module._CHUNK_ENTRIES, "cpu", d)
    assert all(map(torch.equal, probe_and_update(rule, distribution, torch.float32, d), pieces))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_thread_count_changes_nothing(rule: UpdateRule, distribution: Distribution, two_threads: None) -> None:
    """Enough entries that torch does share them out: it gives a thread 32768 at a time."""
    d = 3 * 32768 + 77
    pieces = probe_and_update(rule, distribution, torch.float32, d)
    torch.set_num_threads(1)
    assert all(map(torch.equal, probe_and_update(rule, distribution, torch.float32, d), pieces))
