"""Canaries in the run's own client: the shipped one keeps its claim, and mistakes that are put into it are seen.

Mistakes of the mechanism alone are in tests/privacy/test_mistakes.py, with many more trials.
"""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import heron.engines.agreement
from heron.audit import Bounds, Trials, canary_bounds
from heron.client.attendance import Attendance
from heron.client.private import PrivateClient, PrivateProbingClient
from heron.client.step import StepResult
from heron.engines.clients import Clients
from heron.privacy import Secret, VectorMechanism
from heron.wire.learning import Learning
from tests.audit.views import digits_view

pytest.importorskip("dp_accounting", reason="claims come from dp-accounting")

PRIVATE = ("privacy.epsilon=3", "client.local_steps=4", "rounds=2")
SECRET = Secret(bytes(range(32)))


def trials(epsilon: float, algorithm: str = "heron", *changes: str) -> Trials:
    probes = () if algorithm in ("cse_fsl", "local") else ("estimator.probes=4",)
    return Trials(digits_view(*PRIVATE, *probes, *changes, algorithm=algorithm), epsilon)


def bounds(epsilon: float, number: int = 100, algorithm: str = "heron") -> Bounds:
    return canary_bounds(trials(epsilon, algorithm), number, seed=5)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["heron", "decomfl", "cse_fsl", "local"])
def test_a_training_releases_what_the_examples_contribute_and_noise(algorithm: str) -> None:
    made = trials(3.0, algorithm)
    assert 2.99 < made.claims["epsilon_public"] <= 3.0
    assert made.claims["epsilon_fed_server"] > 3.0
    canary, other = made.contributions()
    # The canary has another label than its own, and loses more than a clip; float32 rounds.
    assert np.linalg.norm(canary) == pytest.approx(1.0, abs=1e-2)
    assert np.linalg.norm(other) <= 1.0 + 1e-2
    assert made.unnoised(SECRET) == []
    rests = []
    for number in range(60):
        released, has_canary, has_other = made.run(SECRET.of(number), is_there=True)
        rests.append(released - has_canary * canary - has_other * other)
        absent, *drawn = made.run(SECRET.of(number), is_there=False)
        assert drawn == [has_canary, has_other]
        np.testing.assert_allclose(released - absent, has_canary * canary, atol=3e-3)
    assert np.std(rests) == pytest.approx(made.settings.privacy.noise * made.settings.privacy.clip, rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [1.0, 3.0])
@pytest.mark.parametrize("algorithm", ["heron", "cse_fsl", "local"])
def test_the_shipped_client_keeps_its_claim(epsilon: float, algorithm: str) -> None:
    found = bounds(epsilon, 400, algorithm)
    assert not found.is_broken
    # No vacuous test: a third more noise than is claimed is excluded.
    assert 1.0 <= found.noise < 1.33


HEAD = ("client.exact=1", "privacy.exact_clip=0.5")


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [1.0, 3.0])
def test_the_shipped_client_with_an_exact_head_keeps_its_claim(epsilon: float) -> None:
    found = canary_bounds(trials(epsilon, "heron", *HEAD), 400, seed=5)
    assert not found.is_broken
    assert 1.0 <= found.noise < 1.33


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [1.0, 3.0])
def test_two_parts_with_the_noise_of_one_are_seen(epsilon: float, monkeypatch) -> None:
    """Scalars and the head's gradient have a norm of up to sqrt(2) clips together."""
    whole = Learning.mechanism
    monkeypatch.setattr(Learning, "mechanism", lambda self, **_: whole(self, num_parts=1))
    assert canary_bounds(trials(epsilon, "heron", *HEAD), 1000, seed=5).is_broken


GROUPS = ("client.learning=local_zeroth_order",)


@pytest.mark.slow
def test_a_step_of_layer_groups_is_read_from_what_moved() -> None:
    """Least squares find the released numbers of all groups, which are what the examples contribute, and noise."""
    made = trials(3.0, "heron", *GROUPS)
    canary, other = made.contributions()
    assert canary.shape == (12,)  # three groups of four probes
    assert np.linalg.norm(canary) == pytest.approx(1.0, abs=1e-2)
    assert np.linalg.norm(other) <= 1.0 + 1e-2
    assert made.unnoised(SECRET) == []
    for number in range(8):
        released, has_canary, _ = made.run(SECRET.of(number), is_there=True)
        absent, *_ = made.run(SECRET.of(number), is_there=False)
        np.testing.assert_allclose(released - absent, has_canary * canary, atol=3e-3)


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [1.0, 3.0])
def test_the_shipped_client_of_layer_groups_keeps_its_claim(epsilon: float) -> None:
    found = canary_bounds(trials(epsilon, "heron", *GROUPS), 200, seed=5)
    assert not found.is_broken
    assert 1.0 <= found.noise < 1.4


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [1.0, 3.0])
def test_layer_groups_that_are_clipped_one_by_one_are_seen(epsilon: float, monkeypatch) -> None:
    """Three groups have a joint norm of up to sqrt(3) clips."""
    whole = VectorMechanism.clipped_sum

    def each(self: VectorMechanism, vectors_BD: np.ndarray) -> np.ndarray:
        return np.concatenate([whole(self, group) for group in np.split(vectors_BD, 3, axis=1)])

    monkeypatch.setattr(VectorMechanism, "clipped_sum", each)
    assert canary_bounds(trials(epsilon, "heron", *GROUPS), 100, seed=5).noise < 1.0


@pytest.mark.slow
def test_exact_layer_groups_have_one_clip_whatever_their_boundary() -> None:
    made = trials(3.0, "heron", "client.learning=local_exact", "client.exact=1", "privacy.clip=0.5")
    canary, _ = made.contributions()
    assert made.clip == 0.5
    assert np.linalg.norm(canary) == pytest.approx(0.5, abs=1e-2)


@pytest.mark.slow
def test_exact_gradients_of_layer_groups_that_are_clipped_in_pieces_are_seen(monkeypatch) -> None:
    """Eight pieces have a joint norm of up to sqrt(8) clips; an example of large inputs comes near it."""
    whole = VectorMechanism.clipped_sum

    def each(self: VectorMechanism, vectors_BD: np.ndarray) -> np.ndarray:
        return np.concatenate([whole(self, piece) for piece in np.array_split(vectors_BD, 8, axis=1)])

    monkeypatch.setattr(VectorMechanism, "clipped_sum", each)
    assert canary_bounds(trials(3.0, "local"), 100, seed=5).noise < 1.0


def public_normals(self: Secret, shape: tuple[int, ...], purpose: str, *fields: int) -> np.ndarray:
    return np.random.default_rng(fields).normal(size=shape)


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [1.0, 3.0])
def test_noise_of_the_runs_seed_is_seen(epsilon: float, monkeypatch) -> None:
    """Round and step are all that it depends on; an attacker takes it away, or sees two peaks."""
    monkeypatch.setattr(Secret, "normals", public_normals)
    assert bounds(epsilon).is_broken


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [1.0, 3.0])
def test_noise_drawn_after_the_directions_seed_is_seen(epsilon: float, monkeypatch) -> None:
    """Public code for zeroth order draws noise from the generator that it seeded for the direction."""

    def release(self: PrivateClient, total_D: np.ndarray, key: object, *_: object) -> object:
        seed = self.probed.directions(key)[0]
        normals = np.random.default_rng(seed).normal(size=total_D.shape)
        return self.runtime.receive(self._mechanism.release(total_D, normals))

    monkeypatch.setattr(PrivateClient, "_release", release)
    assert bounds(epsilon).is_broken


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [1.0, 3.0])
def test_noise_that_is_forgotten_is_seen(epsilon: float, monkeypatch) -> None:
    monkeypatch.setattr(
        VectorMechanism, "release", lambda self, total, normals: total * (self.clip / 2**30) / self.batch_size
    )
    assert bounds(epsilon).is_broken


def test_the_clean_loss_sent_along_is_seen(monkeypatch) -> None:
    learn = PrivateProbingClient._learn

    def telling(self: PrivateProbingClient, batch: object, key: object, losses: object) -> StepResult:
        with torch.no_grad():
            loss = self.runtime.loss(batch, 0) if len(batch) else None
        return StepResult(loss, learn(self, batch, key, losses).projected_gradients)

    monkeypatch.setattr(PrivateProbingClient, "_learn", telling)
    assert trials(3.0).unnoised(SECRET) == ["train_loss"]


def test_a_deadline_that_depends_on_the_data_is_seen(monkeypatch) -> None:
    """The canary takes longer to read, and the device runs out of time after a step less."""

    def fate(self: Clients, *_: int) -> Attendance:
        return Attendance(max_steps=0 if self.data(0)._is_there else 1, replies=True)

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
@pytest.mark.parametrize("epsilon", [1.0, 3.0])
def test_probes_that_are_clipped_one_by_one_are_seen(epsilon: float, monkeypatch) -> None:
    """A joint norm of up to twice the clip with four probes."""
    whole = VectorMechanism.clipped_sum

    def each(self: VectorMechanism, vectors_BD: np.ndarray) -> np.ndarray:
        return np.concatenate([whole(self, vectors_BD[:, [probe]]) for probe in range(vectors_BD.shape[1])])

    monkeypatch.setattr(VectorMechanism, "clipped_sum", each)
    assert bounds(epsilon, 400).noise < 1.0


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [1.0, 3.0])
def test_too_little_noise_is_seen(epsilon: float, monkeypatch) -> None:
    normals = Secret.normals
    monkeypatch.setattr(Secret, "normals", lambda *given: 0.5 * normals(*given))
    assert bounds(epsilon, 400).noise < 1.0


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [1.0, 3.0])
@pytest.mark.parametrize("seed", [0, 1])  # an order of the run's seed must not leave the canary out
def test_in_passes_a_claim_is_kept_and_too_little_noise_is_seen(epsilon: float, seed: int, monkeypatch) -> None:
    made = trials(epsilon, "heron", "privacy.sampling=passes", f"seed={seed}")
    found = canary_bounds(made, 400, seed=5)
    assert not found.is_broken
    assert 1.0 <= found.noise < 1.33
    normals = Secret.normals
    monkeypatch.setattr(Secret, "normals", lambda *given: 0.5 * normals(*given))
    assert canary_bounds(made, 400, seed=5).noise < 1.0
