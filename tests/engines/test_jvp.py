"""A federation whose clients probe by forward-mode differentiation: what holds for finite differences holds here."""

import pytest

from heron.engines.profile import profile_client
from heron.runs.run_directory import RunDirectory
from heron.wire.groups import Probes
from tests.conformance.test_algorithms import (
    BATCH,
    CHANNELS,
    CLASSES,
    assert_equal,
    comparable,
    federation,
    run,
    tensors_of,
)


def probes(scheme: str = "jvp", mu: float = 1e-3) -> Probes:
    return Probes(mu, 2, scheme=scheme)


def test_learns_without_a_graph() -> None:
    training = run("heron", rounds=10, estimator=probes())
    split, outputs = training.federation.split, []
    for module in [*split.client, *split.auxiliary]:
        module.register_forward_hook(lambda *args: outputs.append(args[-1].requires_grad))
    rows = training.train()
    assert outputs
    assert not any(outputs)
    assert all(parameter.grad is None for parameter in [*split.client.parameters(), *split.auxiliary.parameters()])
    assert rows[-1]["test_accuracy"] > 0.5  # chance is 0.25


def test_resumes_bit_for_bit(tmp_path) -> None:
    whole = run("heron", RunDirectory(tmp_path / "whole"), estimator=probes())
    whole.train()
    run("heron", RunDirectory(tmp_path / "cut"), rounds=2, estimator=probes()).train()
    resumed = run("heron", RunDirectory(tmp_path / "cut"), estimator=probes())
    assert resumed.restore() == 2
    resumed.train()
    assert comparable(resumed.directory.read_metrics()) == comparable(whole.directory.read_metrics())
    assert resumed.directory.checkpoint.read_bytes() == whole.directory.checkpoint.read_bytes()


def test_wire_changes_nothing_and_traffic_is_that_of_finite_differences() -> None:
    reference, wire, differences = (
        run("heron", wire=wired, estimator=probes(scheme))
        for wired, scheme in ((False, "jvp"), (True, "jvp"), (False, "central"))
    )
    assert comparable(reference.train()) == comparable(wire.train())
    differences.train()
    assert_equal(tensors_of(wire.federation), tensors_of(reference.federation))
    assert reference.federation.ledger.to_dict() == differences.federation.ledger.to_dict()


def test_mu_is_ignored() -> None:
    first, second = (run("heron", rounds=1, estimator=probes(mu=mu)) for mu in (1e-3, 10.0))
    first.train()
    second.train()
    assert_equal(tensors_of(first.federation), tensors_of(second.federation))


@pytest.mark.parametrize("count", [1, 3])
def test_the_profile_counts_tangents(count: int) -> None:
    """A product and the two of its tangent: 1 + 3 q forward passes of operations in 1 + q calls."""
    cost = profile_client(federation("heron", estimator={"probes": count, "scheme": "jvp"}), repeats=1)
    forward_flops = 2 * BATCH * (16 * CHANNELS * 9 + 16 * CHANNELS * CLASSES)
    assert cost.forwards_per_step == 1 + count
    assert cost.flops_per_step == (1 + 3 * count) * forward_flops
    plain = profile_client(federation("heron"), repeats=1)
    # The direction, and a tangent for every activation.
    activations, theta = cost.memory_breakdown_bytes["activations"], plain.memory_breakdown_bytes["parameters"] // 2
    assert activations >= 2 * plain.memory_breakdown_bytes["activations"]
    assert cost.memory_breakdown_bytes["temporaries"] >= theta
    assert cost.memory_breakdown_bytes["gradients"] == 0
