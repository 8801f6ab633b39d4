"""The mechanism: one example more or less moves the release by at most the clip, however the batch is taken apart."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from heron.errors import ConfigError
from heron.privacy import Secret, VectorMechanism

SECRET = Secret(bytes(range(32)))
# One clip in grid points; a norm of integers is compared exactly.
CLIP_SQUARED = (2**30) ** 2

values = st.floats(allow_nan=True, allow_infinity=True, width=64)
batches = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9).flatmap(
    lambda shape: hnp.arrays(np.float64, shape, elements=values)
)


def squared_norm(points: np.ndarray) -> int:
    return sum(int(point) ** 2 for point in points)


@given(batches, st.floats(1e-100, 1e100), st.integers(0, 8), st.integers(1, 9))
@settings(max_examples=300, deadline=None)
def test_neighbouring_batches_differ_by_at_most_the_clip(
    vectors: np.ndarray, clip: float, dropped: int, size: int
) -> None:
    mechanism = VectorMechanism(clip, 1.0, 4)
    dropped %= len(vectors)
    with_it = mechanism.clipped_sum(vectors)
    pieces = [mechanism.clipped_sum(vectors[start : start + size]) for start in range(0, len(vectors), size)]
    assert np.array_equal(with_it, sum(pieces)), "micro-batches change no bit"
    without_it = mechanism.clipped_sum(np.delete(vectors, dropped, 0))
    assert squared_norm(with_it - without_it) <= CLIP_SQUARED
    # Noise and divisor are the same, so that the release moves by as much.
    noise = SECRET.normals(with_it.shape, "noise", 0)
    moved = mechanism.release(with_it, noise) - mechanism.release(without_it, noise)
    assert np.linalg.norm(moved) <= clip / 4 * (1 + 1e-9)


def whole_sum(vectors_BD: np.ndarray, clip: float) -> np.ndarray:
    """The sum of a whole batch at once, as it is written down."""
    vectors = np.array(vectors_BD, np.float64, order="C")
    vectors[~np.isfinite(vectors).all(1)] = 0
    with np.errstate(over="ignore"):
        norms = np.sqrt((vectors**2).sum(1, keepdims=True))
    factors = np.where(norms > clip, (1 - 2.0**-50) * clip / np.maximum(norms, clip), 1)
    return np.trunc(vectors * factors * (2.0**30 / clip)).astype(np.int64).sum(0)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(0, 5), (1, 1), (1, 9_000), (5_000, 1), (33, 8), (3_000, 4), (40, 777), (5, 20_000)])
def test_vectors_are_clipped_a_few_at_a_time_to_the_same_bits(shape: tuple[int, int], order: str) -> None:
    vectors = np.random.default_rng(0).normal(0, 3 / math.sqrt(shape[1]), shape).astype(np.float32)
    vectors[3:4] = np.nan
    received = np.array(vectors, order=order)
    found = VectorMechanism(2.0, 1.0, 1).clipped_sum(received)
    np.testing.assert_array_equal(found, whole_sum(vectors, 2.0))
    np.testing.assert_array_equal(received, vectors)  # what came in is as it was


def test_clipping_takes_little_memory_besides() -> None:
    vectors = np.ones((200, 50_000), np.float32)  # 38 MiB
    mechanism = VectorMechanism(1.0, 1.0, 1)
    tracemalloc.start()
    mechanism.clipped_sum(vectors)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 5 * 8 * 50_000  # the sum, and one vector with its points


def test_a_vector_within_the_clip_is_left_alone_and_a_longer_one_keeps_its_direction() -> None:
    mechanism = VectorMechanism(2.0, 1.0, 1)
    total = mechanism.clipped_sum(np.array([[0.6, 0.8], [30.0, 40.0]])) * 2.0 / 2**30
    np.testing.assert_allclose(total, [0.6 + 1.2, 0.8 + 1.6], atol=1e-8)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_vector_that_is_not_finite_counts_as_zero(bad: float) -> None:
    mechanism = VectorMechanism(1.0, 1.0, 1)
    total = mechanism.clipped_sum(np.array([[bad, 0.1], [0.25, 0.5]]))
    assert np.array_equal(total, mechanism.clipped_sum(np.array([[0.25, 0.5]])))


def test_an_empty_batch_releases_noise_of_the_stated_size() -> None:
    mechanism = VectorMechanism(3.0, 2.0, 8)
    total = mechanism.clipped_sum(np.zeros((0, 20_000)))
    released = mechanism.release(total, SECRET.normals((20_000,), "noise", 1))
    scale = 3.0 * 2.0 / 8
    assert abs(released.mean()) < 4 * scale / math.sqrt(20_000)
    assert abs(released.std() / scale - 1) < 4 / math.sqrt(2 * 20_000)


def test_the_divisor_is_the_expected_size_whatever_the_true_one_is() -> None:
    mechanism = VectorMechanism(1.0, 1e-6, 10)
    for number in (1, 10, 40):
        released = mechanism.release(mechanism.clipped_sum(np.full((number, 1), 0.5)), np.zeros(1))
        np.testing.assert_allclose(released, number * 0.05, rtol=1e-6)


@pytest.mark.parametrize(
    ("clip", "noise", "size"),
    [(0, 1, 1), (1, 0, 1), (-1, 1, 1), (1, 1e7, 1), (1, 1, 0), (1e-200, 1, 1), (math.nan, 1, 1)],
)
def test_a_mechanism_without_protection_is_refused(clip: float, noise: float, size: int) -> None:
    key = "client.batch_size" if size == 0 else "privacy.noise" if noise != 1 else "privacy.clip"
    with pytest.raises(ConfigError, match=f"expected .*, found .*; set {key}$"):
        VectorMechanism(clip, noise, size)
