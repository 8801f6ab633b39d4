"""Canaries in the run's own client: the shipped one keeps its claim, and mistakes that are put into it are seen.

Mistakes of the mechanism alone are in tests/privacy/test_mistakes.py, with many more trials.
"""

import copy
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from torch import nn

import heron.engines.agreement
from heron.audit import Bound, Trials, canary_bounds
from heron.client.attendance import Attendance
from heron.client.private import PrivateClient, PrivateProbingClient
from heron.client.step import StepResult
from heron.engines.clients import Clients
from heron.privacy import Secret, VectorMechanism
from tests.audit.views import digits_view

pytest.importorskip("dp_accounting", reason="claims come from dp-accounting")

PRIVATE = ("privacy.epsilon=3", "client.local_steps=4", "rounds=2")
SECRET = Secret(bytes(range(32)))


def trials(epsilon: float, algorithm: str = "heron", *changes: str) -> Trials:
    probes = ("estimator.probes=4",) if algorithm != "cse_fsl" else ()
    return Trials(digits_view(*PRIVATE, *probes, *changes, algorithm=algorithm), epsilon)


def bounds(epsilon: float, number: int = 150, **given: str) -> Mapping[str, Bound]:
    return canary_bounds(trials(epsilon, **given), number, seed=5)


@pytest.mark.parametrize("algorithm", ["heron", "decomfl", "cse_fsl"])
def test_the_claim_is_the_accounts_and_contributions_are_clipped(algorithm: str) -> None:
    made = trials(3.0, algorithm)
    assert 2.99 < made.claims["epsilon_public"] <= 3.0
    assert made.claims["epsilon_fed_server"] > 3.0
    norms = np.linalg.norm(made.contributions(), axis=2)
    # Zeroth order: the canary has another label than its own, and loses more than a clip; float32 rounds.
    assert norms.max() <= 1.0 + 1e-2
    assert norms[0].min() > 0.5
    assert made.unnoised(SECRET) == []


def test_a_training_releases_what_the_examples_contribute_and_noise() -> None:
    made = trials(3.0)
    contributions, scale = made.contributions(), made.settings.privacy.noise * made.settings.privacy.clip
    rests = []
    for number in range(60):
        released, drawn = made.run(SECRET.of(number), is_there=True)
        rests.append(released - np.einsum("sn,nsd->sd", drawn.astype(float), contributions))
        absent, same = made.run(SECRET.of(number), is_there=False)
        assert np.array_equal(drawn, same)
        np.testing.assert_allclose(released - absent, drawn[:, :1] * contributions[0], atol=2e-3)
    assert np.std(rests) == pytest.approx(scale, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [1.0, 3.0])
@pytest.mark.parametrize("algorithm", ["heron", "cse_fsl"])
def test_the_shipped_client_keeps_its_claim(epsilon: float, algorithm: str) -> None:
    found = bounds(epsilon, 600, algorithm=algorithm)
    assert 0.1 * epsilon < found["public"].proven <= found["public"].claimed
    assert found["servers"].proven <= found["servers"].claimed


def public_normals(self: Secret, shape: tuple[int, ...], purpose: str, *fields: int) -> np.ndarray:
    return np.random.default_rng(fields).normal(size=shape)


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [1.0, 3.0])
def test_noise_of_the_runs_seed_is_seen(epsilon: float, monkeypatch) -> None:
    """Round and step are all that it depends on; an attacker takes it away, or sees two peaks."""
    monkeypatch.setattr(Secret, "normals", public_normals)
    found = bounds(epsilon)
    assert found["servers"].proven > found["servers"].claimed or found["public"].proven > found["public"].claimed


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [1.0, 3.0])
def test_noise_drawn_after_the_directions_seed_is_seen(epsilon: float, monkeypatch) -> None:
    """Public code for zeroth order draws noise from the generator that it seeded for the direction."""

    def release(self: PrivateClient, total_D: np.ndarray, key: object) -> object:
        seed = self.probed.directions(key)[0]
        normals = np.random.default_rng(seed).normal(size=total_D.shape)
        return self.runtime.receive(self._mechanism.release(total_D, normals))

    monkeypatch.setattr(PrivateClient, "_release", release)
    found = bounds(epsilon)
    assert found["servers"].proven > found["servers"].claimed or found["public"].proven > found["public"].claimed


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [1.0, 3.0])
def test_noise_that_is_forgotten_is_seen(epsilon: float, monkeypatch) -> None:
    monkeypatch.setattr(
        VectorMechanism, "release", lambda self, total, normals: total * (self.clip / 2**30) / self.batch_size
    )
    found = bounds(epsilon)
    assert found["servers"].proven > found["servers"].claimed or found["public"].proven > found["public"].claimed


def test_the_clean_loss_sent_along_is_seen(monkeypatch) -> None:
    learn = PrivateProbingClient._learn

    def telling(self: PrivateProbingClient, batch: object, key: object) -> StepResult:
        loss = self.runtime.loss(batch, 0) if len(batch) else None
        return StepResult(loss, learn(self, batch, key).projected_gradients)

    monkeypatch.setattr(PrivateProbingClient, "_learn", telling)
    assert trials(3.0).unnoised(SECRET) == ["train_loss"]


def test_a_deadline_that_depends_on_the_data_is_seen(monkeypatch) -> None:
    """The canary takes longer to read, and the device runs out of time after a step less."""

    def fate(self: Clients, *_: int) -> Attendance:
        return Attendance(max_steps=3 if self.data(0)._is_there else 4, replies=True)

    monkeypatch.setattr(Clients, "fate", fate)
    assert trials(3.0).unnoised(SECRET) == ["num_steps"]


def test_statistics_of_batch_norm_are_seen(monkeypatch) -> None:
    """They are refused; here the refusal is the mistake."""
    monkeypatch.setattr(heron.engines.agreement, "check_private_network", lambda *_: None)
    view = digits_view(*PRIVATE, "estimator.probes=4")
    split = copy.deepcopy(view.split)
    split.client.add_module("norm", nn.BatchNorm2d(4))
    leaks = Trials(replace(view, split=split), 3.0).unnoised(SECRET)
    assert "client.norm.running_mean" in leaks


@pytest.mark.slow
def test_who_sees_the_batches_breaks_the_claim_for_those_who_do_not() -> None:
    found = bounds(1.0, 2_000)
    assert found["servers"].proven > found["public"].claimed
    assert found["servers"].proven <= found["servers"].claimed
