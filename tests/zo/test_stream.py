"""Direction stream against its specification: same bits for signs, float tolerance and moments for Gaussians."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heron.zo import DISTRIBUTIONS, direction
from heron.zo.stream import Distribution
from tests.reference import stream as reference

SEEDS = st.one_of(st.sampled_from([0, 1, 2**63 - 1, 2**63, 2**64 - 1]), st.integers(0, 2**64 - 1))
# Far starts as well: entry i is a function of (seed, i) alone, so no test has to walk there.
STARTS = st.one_of(st.integers(0, 700), st.integers(2**31 - 200, 2**31 + 200), st.integers(2**40, 2**40 + 200))
LENGTHS = st.integers(0, 300)
PUBLISHED = [6457827717110365317, 3203168211198807973, 9817491932198370423]
"""First three outputs of SplitMix64 for seed 1234567, as published with the generator."""


def test_published_vector() -> None:
    assert [reference.word(1234567, n) for n in range(3)] == PUBLISHED
    negative = (direction(1234567, 0, 192) < 0).view(3, 64).tolist()
    assert [sum(sign << bit for bit, sign in enumerate(word)) for word in negative] == PUBLISHED


@settings(max_examples=150, deadline=None)
@given(SEEDS, STARTS, LENGTHS, st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
def test_signs_equal_the_reference_bit_for_bit(seed: int, start: int, length: int, dtype: torch.dtype) -> None:
    found = direction(seed, start, start + length, dtype=dtype)
    assert found.dtype == dtype
    assert found.shape == (length,)
    np.testing.assert_array_equal(found.double().numpy(), reference.rademacher(seed, start, start + length))


@settings(max_examples=100, deadline=None)
@given(SEEDS, STARTS, LENGTHS, st.sampled_from([(torch.float32, 2**-23), (torch.float64, 1e-14)]))
def test_gaussians_equal_the_reference(seed: int, start: int, length: int, kind: tuple[torch.dtype, float]) -> None:
    """Float32: one rounding of the double. Float64: logarithm and sine of another library."""
    dtype, tolerance = kind
    found = direction(seed, start, start + length, distribution="gaussian", dtype=dtype)
    assert found.dtype == dtype
    assert found.shape == (length,)
    expected = reference.gaussian(seed, start, start + length)
    np.testing.assert_allclose(found.double().numpy(), expected, rtol=tolerance, atol=1e-14)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@settings(max_examples=100, deadline=None)
@given(seed=SEEDS, start=st.integers(0, 2000), length=LENGTHS)
def test_any_range_equals_the_whole(distribution: Distribution, seed: int, start: int, length: int) -> None:
    stop = start + length
    for dtype in (torch.float32, torch.float64):
        whole = direction(seed, 0, stop, distribution=distribution, dtype=dtype)
        assert direction(seed, start, stop, distribution=distribution, dtype=dtype).equal(whole[start:])


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_moments(distribution: Distribution) -> None:
    """Mean 0, variance 1, covariance 0 within five standard errors, 1/sqrt(n) and sqrt(kurtosis - 1)/sqrt(n)."""
    n = 1 << 20
    u = direction(2**64 - 1, 0, n, distribution=distribution, dtype=torch.float64)
    v = direction(0, 0, n, distribution=distribution, dtype=torch.float64)
    bound = 5.0 / math.sqrt(n)
    assert abs(u.mean()) < bound
    assert abs((u * u).mean() - 1.0) < bound * math.sqrt(2.0)
    for other in (v, u.roll(1), u.roll(2), u.roll(64), u.roll(128)):
        assert abs((u * other).mean()) < bound


def test_gaussian_shape() -> None:
    """Fourth moment 3 (variance of x^4 is 105 - 9 = 96), and the share within one standard deviation."""
    n = 1 << 20
    u = direction(42, 0, n, distribution="gaussian", dtype=torch.float64)
    assert u.isfinite().all()
    assert u.abs().max() <= math.sqrt(-2.0 * math.log(2.0**-32))
    assert abs((u**4).mean() - 3.0) < 5.0 * math.sqrt(96.0 / n)
    share = math.erf(1.0 / math.sqrt(2.0))
    assert abs((u.abs() < 1.0).double().mean() - share) < 5.0 * math.sqrt(share * (1.0 - share) / n)


def test_neighbouring_seeds_have_nothing_in_common() -> None:
    n = 1 << 14
    directions = torch.stack([direction(seed, 0, n, dtype=torch.float64) for seed in range(16)])
    correlation = directions @ directions.T / n - torch.eye(16, dtype=torch.float64)
    assert correlation.abs().max() < 5.0 / math.sqrt(n)


def test_the_process_wide_generator_is_not_used() -> None:
    before = torch.get_rng_state()
    for distribution in DISTRIBUTIONS:
        direction(3, 0, 100, distribution=distribution)
    assert torch.equal(torch.get_rng_state(), before)
