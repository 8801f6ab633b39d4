"""Label shares from scalars: the estimate is the gradient's, and skewed clients are read from their walks."""

import numpy as np
import pytest
import torch

from heron.arrays import to_host
from heron.audit.shares import bias_of, correlation, gradient_of, read_shares, true_shares
from heron.wire.messages import ScalarReply
from heron.wire.walks import direction_seeds
from heron.zo.stream import direction
from tests.audit.views import digits_view

SKEWED = ("update=scalars", "client.keep_state=false", "clients.partition=dirichlet", "clients.alpha=0.1")
SHORT = ("client.local_steps=2", "rounds=20")


def test_the_estimate_is_the_mean_of_scalars_times_directions() -> None:
    federation = digits_view(*SKEWED, *SHORT, "estimator.probes=3").federation()
    place = bias_of(federation, 10)
    assert place is not None
    names = list(federation.runtime.theta.named_tensors())
    assert place[1] - place[0] == 10
    assert names[-1].startswith("auxiliary.")
    scalars = np.arange(6, dtype=np.float32)
    reply = ScalarReply(3, 2, 1, 2, np.float32(0), scalars, {})
    dimension = len(federation.runtime.theta)
    whole = np.zeros(dimension)
    for step in range(2):
        for probe, seed in enumerate(direction_seeds(0, 3, 2, step, 3)):
            whole += scalars[3 * step + probe] / 3 * to_host(direction(seed, 0, dimension, like=torch.zeros(1)))
    np.testing.assert_allclose(gradient_of(federation, reply, place), whole[slice(*place)], atol=1e-6)


def test_correlation_leaves_out_who_was_never_seen() -> None:
    truth = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])
    estimates = np.array([[9.0, 1.0], [2.0, 8.0], [0.0, 0.0]])
    assert correlation(estimates, truth) == pytest.approx(1.0)
    assert correlation(0 * estimates, truth) == 0.0


@pytest.mark.slow
def test_skewed_clients_are_read_and_sums_are_told_apart() -> None:
    view = digits_view(*SKEWED, *SHORT, "estimator.probes=4")
    outcome = read_shares(view)
    assert outcome.figures["share_correlation"] > 0.7
    assert outcome.figures["share_correlation"] > outcome.figures["share_correlation_1"]
    assert outcome.notes == ("walks are seen by the Fed Server and all clients",)
    grouped = digits_view(*SKEWED, *SHORT, "seed_groups=1", "client.optimizer=sgd")
    assert read_shares(grouped).notes == ("walks are seen by the Fed Server alone, others receive sums",)
    masks = ("seed_groups=1", "client.optimizer=sgd", "secure_sum=true")
    masked = digits_view(*SKEWED, *SHORT, *masks, "estimator.probes=4")  # not a divisor of what is added up
    hidden = read_shares(masked)
    assert hidden.notes == ("walks are seen by nobody: only sums under masks leave a client",)
    assert abs(hidden.figures["share_correlation"]) < 0.6, "of random numbers"


def test_dense_updates_have_no_walks() -> None:
    assert read_shares(digits_view("rounds=1")).figures == {}
    assert true_shares(digits_view(*SKEWED, *SHORT).federation(), 10).sum(1) == pytest.approx(np.ones(5))
