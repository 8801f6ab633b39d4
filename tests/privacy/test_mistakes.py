"""Known mistakes, each put into the mechanism and caught by a canary: an empirical lower bound above what is claimed.

An attacker sees one release and knows everything but one example, the canary: all others contribute nothing. The bound
is that of `heron.audit.bounds`. The right mechanism stays below its claim; a mistake does not. The same in the code of
a run's client, with fewer trials, is in tests/audit/test_canaries.py.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from heron.audit import epsilon_bound
from heron.privacy import Releases, Secret, VectorMechanism, hidden_epsilon, noise_for, seen_epsilon

DELTA, CLIP, PROBES, RUNS = 1e-5, 1.0, 4, 400_000
World = Callable[[VectorMechanism, np.ndarray, bool], np.ndarray]
"""A view of an attacker: (mechanism, noise of every run (N, q), whether the canary is there) -> scores, shape (N,)."""
CANARY = np.array([[100.0, 0.0, 0.0, 0.0]])
ALONG = np.full((1, PROBES), 100.0)
NONE = np.zeros((0, PROBES))
SECRET = Secret(bytes(range(32)))


@cache
def noise_of(epsilon: float) -> float:
    return noise_for(epsilon, lambda noise: seen_epsilon(Releases(1, 1.0, noise), DELTA))


@cache
def normals(*, canary: bool, width: int = PROBES, runs: int = RUNS) -> np.ndarray:
    return SECRET.normals((runs, width), "noise", int(canary))


def lower_bound(world: World, noise: float, **shape: int) -> float:
    """Bound epsilon from the scores of both worlds."""
    mechanism = VectorMechanism(CLIP, noise, 1)
    there, absent = (world(mechanism, normals(canary=canary, **shape), canary) for canary in (True, False))
    return epsilon_bound(there, absent, DELTA)


@pytest.mark.parametrize("epsilon", [1.0, 3.0])
@pytest.mark.parametrize("vector", [CANARY, ALONG], ids=["one probe", "all probes"])
def test_the_shipped_mechanism_keeps_its_claim(epsilon: float, vector: np.ndarray) -> None:
    def world(mechanism: VectorMechanism, noise: np.ndarray, canary: bool) -> np.ndarray:
        return mechanism.release(mechanism.clipped_sum(vector if canary else NONE), noise) @ vector[0]

    # No vacuous test: the attack finds a good part of what there is.
    assert 0.4 * epsilon < lower_bound(world, noise_of(epsilon)) <= epsilon


def each_probe_clipped_alone(mechanism: VectorMechanism, noise: np.ndarray, canary: bool) -> np.ndarray:
    """Joint norm 2 C for four probes."""
    vectors = ALONG if canary else NONE
    total = np.concatenate([mechanism.clipped_sum(vectors[:, [probe]]) for probe in range(PROBES)])
    return mechanism.release(total, noise).sum(1)


def each_tensor_clipped_alone(mechanism: VectorMechanism, noise: np.ndarray, canary: bool) -> np.ndarray:
    """Three tensors: joint norm sqrt(3) C."""
    pieces = np.split(ALONG if canary else NONE, [1, 2], axis=1)
    total = np.concatenate([mechanism.clipped_sum(piece) for piece in pieces])
    return mechanism.release(total, noise).sum(1)


def replacement_sold_as_removal(mechanism: VectorMechanism, noise: np.ndarray, canary: bool) -> np.ndarray:
    """Replacing an example by its opposite moves the sum by 2 C."""
    return mechanism.release(mechanism.clipped_sum(CANARY if canary else -CANARY), noise)[:, 0]


def micro_batches_averaged_before_the_clip(mechanism: VectorMechanism, noise: np.ndarray, canary: bool) -> np.ndarray:
    """The clipped mean of four examples counts four times, and one of them can turn it over."""
    others = np.tile(-CANARY / 4, (3, 1))
    piece = np.concatenate([others, 2 * CANARY]) if canary else others
    return mechanism.release(mechanism.clipped_sum(piece.mean(0, keepdims=True)) * 4, noise)[:, 0]


def noise_of_the_runs_seed(mechanism: VectorMechanism, noise: np.ndarray, canary: bool) -> np.ndarray:
    """An attacker who knows the seed draws the noise again and takes it away."""
    released = mechanism.release(mechanism.clipped_sum(CANARY if canary else NONE), noise)
    return (released - mechanism.release(mechanism.clipped_sum(NONE), noise))[:, 0]


def the_clean_loss_sent_along(mechanism: VectorMechanism, noise: np.ndarray, canary: bool) -> np.ndarray:
    """A mean over the batch is as good as the example's own loss to who knows the others."""
    released = mechanism.release(mechanism.clipped_sum(CANARY if canary else NONE), noise)[:, 0]
    return released + 1e6 * (2.3 if canary else 0.0)


def the_number_of_examples_without_noise(mechanism: VectorMechanism, noise: np.ndarray, canary: bool) -> np.ndarray:
    released = mechanism.release(mechanism.clipped_sum(CANARY if canary else NONE), noise)[:, 0]
    return released + 1e6 * (11 if canary else 10)


def divided_by_the_true_size(mechanism: VectorMechanism, noise: np.ndarray, canary: bool) -> np.ndarray:
    """The size of the noise tells whether there are one or two examples, whose vectors are zero."""
    vectors = np.zeros((1 if canary else 2, noise.shape[1]))
    return np.square(mechanism.release(mechanism.clipped_sum(vectors), noise) / len(vectors)).mean(1)


def floats_in_place_of_a_grid(mechanism: VectorMechanism, noise: np.ndarray, canary: bool) -> np.ndarray:
    """Noise near -1 is a multiple of 2^-53, and so is 1 plus it; noise near 0 may be a finer number."""
    draws = noise[:, 0] * mechanism.noise * CLIP
    released = (CLIP if canary else 0.0) + draws
    is_finer = released * 2.0**53 != np.rint(released * 2.0**53)
    return np.where(is_finer & (np.abs(released) < 0.5), -1.0, 1.0)


def a_deadline_that_depends_on_data(mechanism: VectorMechanism, noise: np.ndarray, canary: bool) -> np.ndarray:
    """The canary takes long to read: the device runs out of time, and its step is missing."""
    released = mechanism.release(mechanism.clipped_sum(CANARY if canary else NONE), noise)[:, 0]
    return np.full(len(released), 1.0) if canary else np.tanh(released) - 2.0


def statistics_without_noise(mechanism: VectorMechanism, noise: np.ndarray, canary: bool) -> np.ndarray:
    """A running mean of BatchNorm moves by a tenth of the batch's mean, next to what is noised."""
    released = mechanism.release(mechanism.clipped_sum(CANARY if canary else NONE), noise)[:, 0]
    return released + 1e6 * 0.1 * (0.7 if canary else 0.5)


def a_round_released_again(mechanism: VectorMechanism, noise: np.ndarray, canary: bool) -> np.ndarray:
    """A resumed round with fresh noise, charged once; as often as a device is restarted."""
    total = mechanism.clipped_sum(CANARY if canary else NONE)
    return np.mean([mechanism.release(total, draws)[:, 0] for draws in np.split(noise, 8)], axis=0)


@pytest.mark.parametrize("epsilon", [1.0, 3.0])
@pytest.mark.parametrize(
    "mistake",
    [
        each_probe_clipped_alone,
        each_tensor_clipped_alone,
        replacement_sold_as_removal,
        micro_batches_averaged_before_the_clip,
        noise_of_the_runs_seed,
        the_clean_loss_sent_along,
        the_number_of_examples_without_noise,
        floats_in_place_of_a_grid,
        a_deadline_that_depends_on_data,
        statistics_without_noise,
        a_round_released_again,
    ],
)
def test_a_mistake_breaks_the_claim(mistake: World, epsilon: float) -> None:
    assert lower_bound(mistake, noise_of(epsilon)) > epsilon


def test_released_numbers_are_on_one_grid_with_the_canary_and_without() -> None:
    """So no digit tells them apart: every release is a multiple of 2^-30 of the clip."""
    mechanism = VectorMechanism(CLIP, noise_of(3.0), 1)
    for vectors in (CANARY, NONE):
        points = mechanism.release(mechanism.clipped_sum(vectors), normals(canary=True)) * 2.0**30
        assert np.array_equal(points, np.rint(points))


@pytest.mark.parametrize("epsilon", [1.0, 3.0])
def test_dividing_by_the_true_size_breaks_the_claim(epsilon: float) -> None:
    assert lower_bound(divided_by_the_true_size, noise_of(epsilon), width=64, runs=8_000) > epsilon


@pytest.mark.parametrize("epsilon", [1.0, 3.0])
def test_layer_groups_that_are_clipped_one_by_one_break_the_claim(epsilon: float) -> None:
    """Four groups of four probes have a joint norm of up to sqrt(4) C, and the noise of C."""
    vector = np.full((1, 16), 100.0)

    def each_group_clipped_alone(mechanism: VectorMechanism, noise: np.ndarray, canary: bool) -> np.ndarray:
        groups = np.split(vector if canary else np.zeros((0, 16)), 4, axis=1)
        total = np.concatenate([mechanism.clipped_sum(group) for group in groups])
        return mechanism.release(total, noise).sum(1)

    def all_clipped_together(mechanism: VectorMechanism, noise: np.ndarray, canary: bool) -> np.ndarray:
        return mechanism.release(mechanism.clipped_sum(vector if canary else np.zeros((0, 16))), noise).sum(1)

    shape = {"width": 16, "runs": 100_000}
    assert lower_bound(each_group_clipped_alone, noise_of(epsilon), **shape) > epsilon
    assert lower_bound(all_clipped_together, noise_of(epsilon), **shape) <= epsilon


def test_a_batch_that_is_known_is_not_amplified() -> None:
    """The claim for hidden batches, against an attacker who sees whether the canary was drawn."""
    pytest.importorskip("dp_accounting")
    rate, epsilon = 0.1, 1.0
    noise = noise_for(epsilon, lambda noise: hidden_epsilon(Releases(1, rate, noise), DELTA))

    def seeing(mechanism: VectorMechanism, draws: np.ndarray, canary: bool) -> np.ndarray:
        drawn = np.random.default_rng(int(canary)).random(len(draws)) < rate
        total = mechanism.clipped_sum(CANARY if canary else NONE) * drawn[:, None]
        return np.where(drawn, mechanism.release(total, draws)[:, 0], -1e9)

    def blind(mechanism: VectorMechanism, draws: np.ndarray, canary: bool) -> np.ndarray:
        drawn = np.random.default_rng(int(canary)).random(len(draws)) < rate
        return mechanism.release(mechanism.clipped_sum(CANARY if canary else NONE) * drawn[:, None], draws)[:, 0]

    assert epsilon < lower_bound(seeing, noise) <= seen_epsilon(Releases(1, rate, noise), DELTA)
    assert lower_bound(blind, noise) <= epsilon
