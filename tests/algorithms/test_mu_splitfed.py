"""MU-SplitFed against its literal oracle; the order of its uploads, and what its Main Server leaves alone."""

import copy

import pytest
import torch

from heron.errors import ConfigError
from heron.wire import LossAnswer, ProbeData, SmashedData
from tests.algorithms.test_oracles import BATCH, NUM_CLIENTS, ROUNDS, SEED, order, small_split
from tests.algorithms.test_relative_oracles import (
    CLIENT_RATE,
    MU,
    SERVER_RATE,
    SHARES,
    federation,
    sent,
    stateful_split,
    worst,
)
from tests.reference.mu_splitfed import mu_splitfed

STEP = {"optimizer": "step", "learning_rate": 0.3}


@pytest.mark.parametrize("weighting", ["equal", "examples"])
@pytest.mark.parametrize(
    ("probes", "tau", "joint", "step"),
    [(1, 2, False, {}), (2, 1, False, STEP), (1, 3, True, STEP), (3, 2, True, {})],
)
def test_equals_the_literal_oracle(probes: int, tau: int, joint: bool, step: dict, weighting: str) -> None:
    """Clients make 2, 4 and 3 steps, each with a copy of the server part; losses travel as float32."""
    split = small_split().double()
    parts = copy.deepcopy((split.client, split.server))
    parties = federation(
        "mu_splitfed",
        split,
        estimator={"probes": probes},
        clients={"weighting": weighting},
        server={"zeroth_steps": tau, "joint_probes": joint},
        fed_server=step,
    )
    theta_c, theta_s = mu_splitfed(
        *parts,
        *parties.dataset.tensors,
        order(SHARES),
        weights=[1.0] * NUM_CLIENTS if weighting == "equal" else [float(len(share)) for share in SHARES],
        rounds=ROUNDS,
        run_seed=SEED,
        mu=MU,
        probes=probes,
        tau=tau,
        client_rate=CLIENT_RATE,
        server_rate=SERVER_RATE,
        global_rate=step.get("learning_rate", 1.0),
        joint=joint,
    )
    for _ in range(ROUNDS):
        parties.run_round()
    found = parties.load_global_model()
    assert worst(list(found.client.parameters()), theta_c) <= 1e-6
    assert worst(list(found.server.parameters()), theta_s) <= 1e-6
    assert worst(list(found.client.parameters()), [p.detach() for p in parts[0].parameters()]) > 1e-3
    assert worst(list(found.server.parameters()), [p.detach() for p in parts[1].parameters()]) > 1e-3


def test_the_clean_pass_goes_up_first_and_then_both_sides_of_a_probe() -> None:
    parties = federation("mu_splitfed", stateful_split(), estimator={"probes": 2})
    seen = [message for message in sent(parties) if isinstance(message, ProbeData | SmashedData | LossAnswer)]
    first = [message for message in seen if (message.client_id, message.local_step) == (0, 1)]
    assert [type(message) for message in first] == [SmashedData, LossAnswer] + [ProbeData, LossAnswer] * 4
    assert [message.probe for message in first if isinstance(message, ProbeData)] == [0, 1, 2, 3]
    assert len(seen) == 10 * (2 + 4 + 3)


@pytest.mark.parametrize("joint", [False, True])
def test_the_server_learns_from_the_clean_upload_alone_and_without_a_graph(joint: bool) -> None:
    """A probe changes nothing; running statistics follow the clean pass, once; Dropout masks are those of the step."""
    parties = federation("mu_splitfed", stateful_split(), server={"joint_probes": joint})
    server, split = parties.main_server, parties.split.train()
    smashed, labels = torch.randn(BATCH, 3, 4, 4), torch.arange(BATCH) % 5
    before = {name: tensor.clone() for name, tensor in split.server.state_dict().items()}
    probed = [server.answer(ProbeData(0, 0, 1, probe, smashed, labels)) for probe in range(2)]
    assert all(torch.equal(tensor, before[name]) for name, tensor in split.server.state_dict().items())
    clean = server.answer(SmashedData(0, 0, 1, smashed, labels))
    assert torch.equal(probed[0].loss, clean.loss) is not joint
    assert torch.equal(probed[0].loss, probed[1].loss) is not joint
    after = split.server.state_dict()
    assert int(after["1.num_batches_tracked"]) == 1
    assert not torch.equal(after["4.weight"], before["4.weight"])
    assert all(parameter.grad is None for parameter in split.server.parameters())


def test_every_client_of_a_round_begins_with_the_same_server_part() -> None:
    """With one step each, what a client's copy becomes does not depend on who came before."""
    starts: list[torch.Tensor] = []
    parties = federation("mu_splitfed", small_split())
    begin = parties.main_server.begin_client

    def watched() -> None:
        begin()
        starts.append(parties.split.server[1].weight.detach().clone())

    parties.main_server.begin_client = watched
    for _ in range(2):
        parties.run_round()
    assert all(torch.equal(start, starts[0]) for start in starts[:NUM_CLIENTS])
    assert all(torch.equal(start, starts[NUM_CLIENTS]) for start in starts[NUM_CLIENTS:])
    assert not torch.equal(starts[0], starts[-1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "adam"}, r"mu_splitfed: expected client\.optimizer of sgd, found adam"),
        ({"estimator": {"probes": 0}}, r"estimator\.probes of at least 1"),
        ({"smashed": {"codec": "int8"}}, r"smashed\.codec=fp32"),
        ({"link": {"bundle": True}}, r"link\.bundle=false with mu_splitfed"),
    ],
)
def test_what_has_no_place_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        federation("mu_splitfed", small_split(), **changes)
