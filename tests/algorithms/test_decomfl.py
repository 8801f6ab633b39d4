"""DeComFL against its literal oracle; what travels, and clients that come late."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from heron.errors import ConfigError
from heron.wire import ScalarBroadcast, ScalarReply
from tests.algorithms import scalar_runs
from tests.algorithms.test_oracles import NUM_CLIENTS, ROUNDS, SEED, order, small_split
from tests.algorithms.test_relative_oracles import CLIENT_RATE, MU, SHARES, federation, worst
from tests.reference.whole_network import averaged_networks


@pytest.mark.parametrize("weighting", ["equal", "examples"])
@pytest.mark.parametrize(
    ("dtype", "probes", "allowed"),
    [(torch.float64, 1, 1e-12), (torch.float64, 3, 1e-12), (torch.float32, 3, 1e-5)],
)
def test_equals_federated_averaging_over_the_same_probes(dtype, probes: int, allowed: float, weighting: str) -> None:
    """Clients make 2, 4 and 3 steps: the mean of scalars is the mean of networks, missing steps count 0."""
    split = small_split().to(dtype)
    whole = copy.deepcopy(nn.Sequential(split.client, split.server))
    parties = federation("decomfl", split, estimator={"probes": probes}, clients={"weighting": weighting})
    expected = averaged_networks(
        whole,
        *parties.dataset.tensors,
        order(SHARES),
        weights=[1.0] * NUM_CLIENTS if weighting == "equal" else [float(len(share)) for share in SHARES],
        rounds=ROUNDS,
        run_seed=SEED,
        mu=MU,
        probes=probes,
        rate=CLIENT_RATE,
    )
    for _ in range(ROUNDS):
        parties.run_round()
    found = parties.load_global_model()
    trained = [*found.client.parameters(), *found.server.parameters()]
    assert worst(trained, expected) <= allowed
    assert worst(trained, [p.detach() for p in whole.parameters()]) > 1e-3


def test_with_one_client_the_replay_is_the_client_bit_for_bit() -> None:
    parties = federation("decomfl", small_split(), [np.arange(30)], wire=True)
    for _ in range(ROUNDS):
        parties.run_round()
    # The resident client is where its last local step left it.
    modules = {"client": parties.split.client, "server": parties.split.server}
    trained = dict(nn.ModuleDict(modules).named_parameters())
    assert trained.keys() == parties.fed_server.theta.keys()
    for name, tensor in parties.fed_server.theta.items():
        assert torch.equal(tensor, trained[name]), name


def test_only_scalars_go_up_and_no_label() -> None:
    parties = federation("decomfl", small_split())
    messages = scalar_runs.record(parties)
    parties.run_round()
    assert scalar_runs.kinds(messages) == "SA" * NUM_CLIENTS
    assert all(not message.model for message in messages if isinstance(message, ScalarReply))
    assert set(parties.ledger.by_kind("uplink")) == {"scalars", "framing"}


def test_clients_that_come_late_replay_what_they_missed_bit_for_bit() -> None:
    """A digest goes with every broadcast; a client that arrived elsewhere would ask for a snapshot."""
    schedule = [[0, 1, 2], [0], [0, 1], [1], [0, 1, 2]]
    parties = scalar_runs.federation(scalar_runs.clients(wire=True), algorithm="decomfl", schedule=schedule)
    messages = scalar_runs.record(parties)
    for _ in schedule:
        parties.run_round()
    logs = [message for message in messages if isinstance(message, ScalarBroadcast)]
    assert scalar_runs.kinds(messages, client_id=2) == "SALA"
    assert "R" not in scalar_runs.kinds(messages)
    assert logs[-1].client_id == 2
    assert logs[-1].digest
    assert {int(entry[0]) for entry in logs[-1].entries} == {0, 1, 2, 3}


@pytest.mark.parametrize("optimizer", ["adam", "momentum"])
def test_another_rule_than_sgd_is_refused(optimizer: str) -> None:
    with pytest.raises(ConfigError, match=f"decomfl: expected client.optimizer of sgd, found {optimizer}"):
        federation("decomfl", small_split(), optimizer=optimizer)
