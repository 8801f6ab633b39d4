"""FedKSeed against its literal oracle; sums that go both ways, clients that come late, and draws by importance."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from heron.errors import ConfigError, MessageError
from heron.wire import ModelBroadcast, ScalarBroadcast, ScalarReply
from heron.wire.candidates import STANDING
from tests.algorithms import scalar_runs
from tests.algorithms.test_oracles import NUM_CLIENTS, ROUNDS, SEED, order, small_split
from tests.algorithms.test_relative_oracles import CLIENT_RATE, MU, SHARES, federation, worst
from tests.reference.candidates import from_bins, stepwise_networks

K = 24
POOL = {"scheme": "central", "candidates": K}


def whole_of(parties) -> list[torch.Tensor]:
    found = parties.load_global_model()
    return [*found.client.parameters(), *found.server.parameters()]


def oracle(
    parties,
    whole: nn.Module,
    *,
    rounds: int = ROUNDS,
    probes: int = 2,
    weighting: str = "equal",
    pro=False,
    rate=CLIENT_RATE,
):
    return stepwise_networks(
        whole,
        *parties.dataset.tensors,
        order(SHARES),
        weights=[1.0] * NUM_CLIENTS if weighting == "equal" else [float(len(share)) for share in SHARES],
        rounds=rounds,
        run_seed=SEED,
        mu=MU,
        probes=probes,
        rate=rate,
        K=K,
        pro=pro,
    )


@pytest.mark.parametrize("weighting", ["equal", "examples"])
@pytest.mark.parametrize("sampling", ["uniform", "pro"])
@pytest.mark.parametrize(
    ("dtype", "probes", "allowed"), [(torch.float64, 1, 1e-6), (torch.float64, 3, 1e-6), (torch.float32, 3, 1e-5)]
)
def test_equals_federated_averaging_of_stepwise_networks(dtype, probes, allowed, sampling, weighting) -> None:
    """Clients make 2, 4 and 3 steps; sums travel as float32."""
    split = small_split().to(dtype)
    whole = copy.deepcopy(nn.Sequential(split.client, split.server))
    estimator = POOL | {"probes": probes, "sampling": sampling}
    parties = federation("fedkseed", split, estimator=estimator, clients={"weighting": weighting})
    rounds = 3  # with pro sampling the second is the first that draws by importance
    expected, _ = oracle(parties, whole, rounds=rounds, probes=probes, weighting=weighting, pro=sampling == "pro")
    for _ in range(rounds):
        parties.run_round()
    assert worst(whole_of(parties), expected) <= allowed
    assert worst(whole_of(parties), [p.detach() for p in whole.parameters()]) > 1e-3


@pytest.mark.slow
def test_after_fifty_rounds_the_bins_are_the_stepwise_model() -> None:
    """theta_0 - eta sum_j bin_j u_j, from the engine's bins and from the oracle's own.

    The rate is one at which training is stable: elsewhere two trajectories part by rounding alone.
    """
    rate = 3e-3
    split = small_split()
    whole = copy.deepcopy(nn.Sequential(split.client, split.server))
    start = [p.detach().clone() for p in whole.parameters()]
    parties = federation("fedkseed", split, estimator=POOL, learning_rate=rate)
    stepwise, bins = oracle(parties, whole, rounds=50, rate=rate)
    for _ in range(50):
        parties.run_round()
    assert worst(from_bins(start, bins, rate, SEED), stepwise) <= 1e-5
    assert worst(whole_of(parties), stepwise) <= 1e-5
    sums = parties.fed_server.state()["candidates"]["sums"]
    assert torch.allclose(sums, rate * torch.tensor(bins, dtype=sums.dtype), atol=1e-5)
    assert float(sums.abs().max()) > 1e-3


@pytest.mark.parametrize(("sampling", "numbers"), [("uniform", K), ("pro", 2 * K)])
def test_sums_go_up_and_no_label(sampling: str, numbers: int) -> None:
    parties = federation("fedkseed", small_split(), estimator=POOL | {"sampling": sampling})
    messages = scalar_runs.record(parties)
    parties.run_round()
    replies = [message for message in messages if isinstance(message, ScalarReply)]
    assert len(replies) == NUM_CLIENTS
    assert all(reply.projected_gradients.shape == (numbers,) and not reply.model for reply in replies)
    assert set(parties.ledger.by_kind("uplink")) == {"scalars", "framing"}


@pytest.mark.parametrize("sampling", ["uniform", "pro"])
def test_clients_that_come_late_or_lose_theta_catch_up_bit_for_bit(sampling: str) -> None:
    """A digest goes with every broadcast of sums; K numbers, however many rounds were missed."""
    schedule = [[0, 1, 2], [0], [0, 1], [1], [0, 1, 2], [0, 1, 2]]
    settings = scalar_runs.clients(wire=True, estimator=POOL | {"sampling": sampling})
    parties = scalar_runs.federation(settings, algorithm="fedkseed", schedule=schedule)
    messages = scalar_runs.record(parties)
    for _ in schedule[:-1]:
        parties.run_round()
    assert scalar_runs.kinds(messages, client_id=2) == "SALA"
    assert "R" not in scalar_runs.kinds(messages)
    logs = [message for message in messages if isinstance(message, ScalarBroadcast)]
    assert all(len(message.scalars) == K * (2 if sampling == "pro" else 1) and message.digest for message in logs)
    parties.held.take(1)  # client 1 loses what it holds
    del messages[:]
    parties.run_round()
    assert scalar_runs.kinds(messages, client_id=1) == "LRSA"
    (snapshot,) = (message for message in messages if isinstance(message, ModelBroadcast))
    assert STANDING in snapshot.model
    held = parties.held.take(1)
    assert all(np.array_equal(held[f"theta/{name}"], snapshot.model[name]) for name in parties.fed_server.theta)


def test_the_client_begins_a_round_with_the_servers_theta_bit_for_bit() -> None:
    parties = federation("fedkseed", small_split(), [np.arange(30)], estimator=POOL, wire=True)
    begun: list[dict[str, torch.Tensor]] = []
    load = parties.learner.load

    def watched(model, state) -> None:
        begun.append({name: torch.as_tensor(model[name]).clone() for name in parties.fed_server.theta})
        load(model, state)

    parties.learner.load = watched
    for _ in range(3):
        expected = {name: tensor.clone() for name, tensor in parties.fed_server.theta.items()}
        parties.run_round()
        assert all(torch.equal(begun[-1][name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "adam"}, "fedkseed: expected client.optimizer of sgd, found adam"),
        ({"estimator": {"candidates": 0}}, r"expected estimator\.candidates of at least 1, found 0"),
        ({"estimator": {"probes": 0}}, r"estimator\.probes of at least 1"),
        ({"fed_server": {"max_scalar": 1.0}}, r"fedkseed: expected fed_server\.max_scalar=0, found 1\.0"),
        ({"fed_server": {"optimizer": "adam"}}, r"expected fed_server\.optimizer=average"),
    ],
)
def test_what_has_no_place_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        federation("fedkseed", small_split(), **changes)


def test_sums_of_another_pool_are_refused() -> None:
    sent = scalar_runs.record(parties := federation("fedkseed", small_split(), estimator=POOL))
    parties.run_round()
    reply = next(message for message in sent if isinstance(message, ScalarReply))
    other = federation("fedkseed", small_split(), estimator=POOL | {"candidates": K + 1})
    with pytest.raises(MessageError, match=rf"float32 of shape \({K + 1},\)"):
        other.fed_server.accept(reply)


@pytest.mark.parametrize("sampling", ["uniform", "pro"])
def test_a_reply_of_too_many_steps_is_refused_before_they_are_drawn_again(sampling: str) -> None:
    sent = scalar_runs.record(parties := federation("fedkseed", small_split(), estimator=POOL | {"sampling": sampling}))
    parties.run_round()
    reply = next(message for message in sent if isinstance(message, ScalarReply))
    with pytest.raises(MessageError, match=r"expected at most \d+ local steps, found 1000000000000; both sides"):
        parties.fed_server.accept(replace(reply, num_steps=10**12))
