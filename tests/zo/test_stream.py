"""Direction stream against its specification: same bits for signs, float tolerance and moments for Gaussians."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heron.arrays import Array, is_tensor, to_host
from heron.zo import DISTRIBUTIONS, direction, uniform_16
from heron.zo.stream import Distribution
from tests.reference import stream as reference

SEEDS = st.one_of(st.sampled_from([0, 1, 2**63 - 1, 2**63, 2**64 - 1]), st.integers(0, 2**64 - 1))
# Far starts as well: entry i is a function of (seed, i) alone, so no test has to walk there.
STARTS = st.one_of(st.integers(0, 700), st.integers(2**31 - 200, 2**31 + 200), st.integers(2**40, 2**40 + 200))
LENGTHS = st.integers(0, 300)
LIKES = [kind.empty(0, dtype=getattr(kind, name)) for kind in (np, torch) for name in ("float32", "float64")]
DOUBLE = np.empty(0)
PUBLISHED = [6457827717110365317, 3203168211198807973, 9817491932198370423]
"""First three outputs of SplitMix64 for seed 1234567, as published with the generator."""


def test_published_vector() -> None:
    assert [reference.word(1234567, n) for n in range(3)] == PUBLISHED
    negative = (direction(1234567, 0, 192) < 0).reshape(3, 64).tolist()
    assert [sum(sign << bit for bit, sign in enumerate(word)) for word in negative] == PUBLISHED


@settings(max_examples=150, deadline=None)
@given(SEEDS, STARTS, LENGTHS, st.sampled_from([*LIKES, np.empty(0, np.float16), torch.empty(0, dtype=torch.bfloat16)]))
def test_signs_equal_the_reference_bit_for_bit(seed: int, start: int, length: int, like: Array) -> None:
    found = direction(seed, start, start + length, like=like)
    assert (found.dtype, is_tensor(found)) == (like.dtype, is_tensor(like))
    assert found.shape == (length,)
    np.testing.assert_array_equal(to_host(found).astype(np.float64), reference.rademacher(seed, start, start + length))


@settings(max_examples=100, deadline=None)
@given(SEEDS, STARTS, LENGTHS, st.sampled_from(LIKES))
def test_gaussians_equal_the_reference(seed: int, start: int, length: int, like: Array) -> None:
    """Float32: one rounding of the double. Float64: logarithm and sine of another library."""
    found = direction(seed, start, start + length, distribution="gaussian", like=like)
    assert (found.dtype, is_tensor(found)) == (like.dtype, is_tensor(like))
    assert found.shape == (length,)
    expected = reference.gaussian(seed, start, start + length)
    tolerance = 2**-23 if found.itemsize == 4 else 1e-14
    np.testing.assert_allclose(to_host(found).astype(np.float64), expected, rtol=tolerance, atol=1e-14)


@settings(max_examples=100, deadline=None)
@given(SEEDS, STARTS, LENGTHS)
def test_uniform_integers_are_the_quarters_of_words(seed: int, start: int, length: int) -> None:
    expected = [reference.word(seed, i // 4) >> 16 * (i % 4) & 0xFFFF for i in range(start, start + length)]
    for found in (uniform_16(seed, start, start + length, like=like) for like in (None, *LIKES)):
        assert to_host(found).dtype == np.int32
        assert found.tolist() == expected


def test_float32_unless_asked_otherwise() -> None:
    assert direction(1, 0, 3).dtype == np.float32
    assert direction(1, 0, 3, distribution="gaussian").dtype == np.float32


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@settings(max_examples=100, deadline=None)
@given(seed=SEEDS, start=st.integers(0, 2000), length=LENGTHS)
def test_any_range_equals_the_whole(distribution: Distribution, seed: int, start: int, length: int) -> None:
    stop = start + length
    for like in LIKES:
        whole = direction(seed, 0, stop, distribution=distribution, like=like)
        assert to_host(direction(seed, start, stop, distribution=distribution, like=like) == whole[start:]).all()


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_moments(distribution: Distribution) -> None:
    """Mean 0, variance 1, covariance 0 within five standard errors, 1/sqrt(n) and sqrt(kurtosis - 1)/sqrt(n)."""
    n = 1 << 20
    u = direction(2**64 - 1, 0, n, distribution=distribution, like=DOUBLE)
    v = direction(0, 0, n, distribution=distribution, like=DOUBLE)
    bound = 5.0 / math.sqrt(n)
    assert abs(u.mean()) < bound
    assert abs((u * u).mean() - 1.0) < bound * math.sqrt(2.0)
    for other in (v, *(np.roll(u, shift) for shift in (1, 2, 64, 128))):
        assert abs((u * other).mean()) < bound


def test_gaussian_shape() -> None:
    """Fourth moment 3 (variance of x^4 is 105 - 9 = 96), and the share within one standard deviation."""
    n = 1 << 20
    u = direction(42, 0, n, distribution="gaussian", like=DOUBLE)
    assert np.isfinite(u).all()
    assert np.abs(u).max() <= math.sqrt(-2.0 * math.log(2.0**-32))
    assert abs((u**4).mean() - 3.0) < 5.0 * math.sqrt(96.0 / n)
    share = math.erf(1.0 / math.sqrt(2.0))
    assert abs((np.abs(u) < 1.0).mean() - share) < 5.0 * math.sqrt(share * (1.0 - share) / n)


def test_neighbouring_seeds_have_nothing_in_common() -> None:
    n = 1 << 14
    directions = np.stack([direction(seed, 0, n, like=DOUBLE) for seed in range(16)])
    correlation = directions @ directions.T / n - np.eye(16)
    assert np.abs(correlation).max() < 5.0 / math.sqrt(n)


def test_the_process_wide_generator_is_not_used() -> None:
    before = torch.get_rng_state()
    for distribution in DISTRIBUTIONS:
        for like in LIKES:
            direction(3, 0, 100, distribution=distribution, like=like)
    assert torch.equal(torch.get_rng_state(), before)
