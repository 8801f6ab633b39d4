"""Lower bounds on epsilon: exact cases, and that they hold."""

import math

import numpy as np
import pytest

from heron.audit import epsilon_bound, gaussian_distance, interval

DELTA = 1e-5


def test_the_interval_is_clopper_and_pearsons() -> None:
    # By hand: with k = 0 of n the upper end solves (1 - p)^n = 0.025.
    assert interval(0, 50) == pytest.approx((0.0, 1 - 0.025 ** (1 / 50)))
    assert interval(50, 50) == pytest.approx((0.025 ** (1 / 50), 1.0))
    low, high = interval(20, 50)
    tail = sum(math.comb(50, k) * low**k * (1 - low) ** (50 - k) for k in range(20, 51))
    assert tail == pytest.approx(0.025)
    assert low < 0.4 < high


def test_worlds_that_are_told_apart_are_bounded_by_their_number() -> None:
    scores = np.ones(1_000)
    expected = math.log((interval(500, 500)[0] - DELTA) / interval(0, 500)[1])
    assert epsilon_bound(scores, -scores, DELTA) == pytest.approx(expected)


def test_what_happens_without_the_canary_alone_counts_too() -> None:
    there, absent = np.ones(1_000), np.tile([0.0, 1.0], 500)
    expected = math.log((interval(250, 500)[0] - DELTA) / interval(0, 500)[1])
    assert epsilon_bound(there, absent, DELTA) == pytest.approx(expected)


def test_equal_worlds_prove_nothing() -> None:
    generator = np.random.default_rng(0)
    bounds = [epsilon_bound(generator.normal(size=500), generator.normal(size=500), DELTA) for _ in range(20)]
    assert max(bounds) < 0.5
    assert epsilon_bound(np.zeros(100), np.zeros(100), DELTA) == 0.0


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_randomised_response_is_bounded_from_below_and_nearly_reached(epsilon: float) -> None:
    """Pure epsilon: the truth with probability e^eps / (1 + e^eps)."""
    generator = np.random.default_rng(1)
    truth = math.exp(epsilon) / (1 + math.exp(epsilon))
    there, absent = (np.where(generator.random(20_000) < share, 1.0, 0.0) for share in (truth, 1 - truth))
    assert 0.9 * epsilon < epsilon_bound(there, absent, 0.0) <= epsilon


@pytest.mark.parametrize("distance", [0.5, 2.0])
def test_the_distance_of_two_normal_distributions_is_bounded_from_below(distance: float) -> None:
    generator = np.random.default_rng(2)
    noise, other = generator.normal(size=(2, 4_000))
    assert 0.65 * distance < gaussian_distance(3.0 * (noise + distance), 3.0 * other) <= distance
    assert 0.94 * distance < gaussian_distance(3.0 * (noise + distance), 3.0 * noise) <= distance, "pairs say more"
    assert gaussian_distance(noise, noise) == 0.0
    assert gaussian_distance(np.ones(9), np.zeros(9)) == math.inf
