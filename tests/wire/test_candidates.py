"""The pool of candidate directions: draws, sums and probabilities."""

import numpy as np
import pytest

from heron.errors import ConfigError, MessageError
from heron.wire.candidates import Candidates, binned, pro_probabilities
from heron.wire.groups import Probes, Settings
from heron.wire.learning import Learning


def candidates(**changes) -> Candidates:
    probes = Probes(**changes)
    return Candidates(Learning(Settings(seed=5, estimator=probes), candidates=probes.candidates))


def test_draws_are_a_function_of_their_place_and_uniform() -> None:
    pool = candidates(candidates=8)
    drawn = [pool.draw((round_index, 3, step), 5) for round_index in range(40) for step in range(40)]
    assert drawn == [candidates(candidates=8).draw((i, 3, step), 5) for i in range(40) for step in range(40)]
    counts = np.bincount(np.array(drawn).reshape(-1), minlength=8)
    # 8,000 draws, 1,000 each; the standard deviation is 30.
    assert abs(counts - 1000).max() < 150
    assert len(set(pool.seeds)) == 8


def test_draws_follow_the_probabilities() -> None:
    pool, weights = candidates(candidates=4), np.array([0.1, 0.0, 0.6, 0.3], np.float32)
    drawn = np.array([pool.draw((0, client, step), 4, weights) for client in range(50) for step in range(40)])
    shares = np.bincount(drawn.reshape(-1), minlength=4) / drawn.size
    assert shares[1] == 0
    assert abs(shares - weights).max() < 0.03


def test_sums_are_those_of_each_candidate() -> None:
    scalars, drawn = np.array([1.0, -2.0, 3.0, -4.0], np.float32), [2, 0, 2, 0]
    assert binned(scalars, drawn, Probes(candidates=3)).tolist() == [-6.0, 0.0, 4.0]
    both = binned(scalars, drawn, Probes(candidates=3, sampling="pro"))
    assert both.tolist() == [-6.0, 0.0, 4.0, 6.0, 0.0, 4.0]
    assert both.dtype == np.float32


def test_probabilities_are_the_softmax_of_the_normalised_means() -> None:
    found = pro_probabilities(np.array([2.0, 9.0, 0.0, 2.0]), np.array([2, 3, 0, 1]))
    # Means 1, 3, -, 2; the undrawn one counts as their mean, 2; normalised 0, 1, 0.5, 0.5.
    expected = np.exp([0.0, 1.0, 0.5, 0.5])
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-6)
    assert pro_probabilities(np.zeros(4), np.zeros(4, np.int64)).tolist() == [0.25] * 4


def test_sums_move_theta_and_leave_the_start_alone() -> None:
    pool, start = candidates(candidates=3), {"weight": np.ones((2, 3), np.float32)}
    sums = np.array([0.5, 0.0, -0.25])
    theta = pool.reached(start, sums)["weight"]
    alone = [pool.reached(start, np.eye(3)[number])["weight"] - start["weight"] for number in range(3)]
    np.testing.assert_allclose(theta, 1 + 0.5 * alone[0] - 0.25 * alone[2], rtol=1e-6)
    assert (start["weight"] == 1).all()
    assert np.array_equal(pool.reached(start, np.zeros(3))["weight"], start["weight"])


@pytest.mark.parametrize(
    "standing", [np.zeros(5, np.float32), np.zeros((3, 1), np.float32), np.zeros(3, np.int32), np.array([0, np.nan, 0])]
)
def test_damaged_sums_are_refused(standing: np.ndarray) -> None:
    with pytest.raises(MessageError, match=r"expected sums of candidates as finite floats of shape \(3,\)"):
        candidates(candidates=3).parsed(standing)


def test_no_candidate_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"estimator\.candidates of at least 1, found 0"):
        candidates(candidates=0)
