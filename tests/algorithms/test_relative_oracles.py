"""HO-SFL and HOSL against literal oracles; what travels, and what the servers refuse and leave alone."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

from heron.algorithms import ALGORITHMS
from heron.engines.in_process import Federation
from heron.errors import ConfigError, MessageError, TrainingError
from heron.split import SplitModel
from heron.wire import LossAnswer, ProbeData, ScalarReply, SmashedData
from heron.wire.groups import Client, Probes, Server, Settings
from tests.algorithms.test_oracles import BATCH, NUM_CLIENTS, ROUNDS, SEED, data, order, small_split
from tests.reference.relatives import hybrid
from tests.settings import changed

MU, CLIENT_RATE, SERVER_RATE = 1e-2, 0.05, 0.1
SHARES = [np.arange(0, 5), np.arange(5, 20), np.arange(20, 30)]  # 2, 4 and 3 local steps


def federation(name: str, split: SplitModel, shares: list[np.ndarray] = SHARES, **changes) -> Federation:
    inputs, labels = data()[0].tensors
    inputs = inputs.to(next(split.client.parameters()).dtype)
    settings = Settings(
        seed=SEED,
        client=Client(batch_size=BATCH, optimizer="sgd", learning_rate=CLIENT_RATE, keep_state=False),
        estimator=Probes(MU, 2),
        server=Server("sgd", SERVER_RATE),
    )
    settings = changed(settings, **changes)
    return Federation(split, ALGORITHMS[name], TensorDataset(inputs, labels), shares, settings)


def worst(found: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    assert len(found) == len(expected)
    return max(float((mine.detach() - theirs).abs().max()) for mine, theirs in zip(found, expected, strict=True))


@pytest.mark.parametrize("weighting", ["equal", "examples"])
@pytest.mark.parametrize(
    ("name", "dtype", "probes", "allowed"),
    [
        ("ho_sfl", torch.float64, 1, 1e-12),
        ("ho_sfl", torch.float64, 3, 1e-12),
        ("ho_sfl", torch.float32, 3, 1e-5),
        ("hosl", torch.float32, 1, 0.0),
        ("hosl", torch.float32, 3, 0.0),
    ],
)
def test_equals_the_literal_oracle(name: str, dtype: torch.dtype, probes: int, allowed: float, weighting: str) -> None:
    """Clients make 2, 4 and 3 steps: the mean of scalars is the mean of models, missing steps count 0."""
    split = small_split().to(dtype)
    parts = copy.deepcopy((split.client, split.server))
    parties = federation(name, split, estimator={"probes": probes}, clients={"weighting": weighting})
    theta_c, theta_s = hybrid(
        name,
        *parts,
        *parties.dataset.tensors,
        order(SHARES),
        weights=[1.0] * NUM_CLIENTS if weighting == "equal" else [float(len(share)) for share in SHARES],
        rounds=ROUNDS,
        run_seed=SEED,
        mu=MU,
        probes=probes,
        client_rate=CLIENT_RATE,
        server_rate=SERVER_RATE,
    )
    for _ in range(ROUNDS):
        parties.run_round()
    found = parties.load_global_model()
    assert worst(list(found.client.parameters()), theta_c) <= allowed
    assert worst(list(found.server.parameters()), theta_s) <= allowed
    assert worst(list(found.client.parameters()), [p.detach() for p in parts[0].parameters()]) > 1e-3


@pytest.mark.parametrize("weighting", ["equal", "examples"])
def test_with_one_client_the_replay_is_the_client_bit_for_bit(weighting: str) -> None:
    parties = federation("ho_sfl", small_split(), [np.arange(30)], clients={"weighting": weighting}, wire=True)
    before = copy.deepcopy(parties.split.client)
    for _ in range(ROUNDS):
        parties.run_round()
    # The resident client is where its last local step left it.
    trained = {f"client.{name}": tensor for name, tensor in parties.split.client.named_parameters()}
    assert trained.keys() == parties.fed_server.theta.keys()
    for name, tensor in parties.fed_server.theta.items():
        assert torch.equal(tensor, trained[name]), name
    assert not torch.equal(before[0].weight, parties.split.client[0].weight)


def sent(parties: Federation) -> list[object]:
    """Every message of the next round."""
    messages: list[object] = []
    parties.listeners.append(lambda message, _: messages.append(message))
    parties.run_round()
    return messages


def test_ho_sfl_replies_hold_no_parameter() -> None:
    replies = [message for message in sent(federation("ho_sfl", small_split())) if isinstance(message, ScalarReply)]
    assert [reply.num_steps for reply in replies] == [2, 4, 3]
    assert [tuple(reply.projected_gradients.shape) for reply in replies] == [(4,), (8,), (6,)]
    assert all(reply.projected_gradients.dtype == torch.float32 and not reply.model for reply in replies)


def test_ho_sfl_clients_that_drop_out_do_not_count() -> None:
    """Nobody replies: theta_c stays, bit for bit, and the next round finds no trace of the lost one."""
    parties = federation("ho_sfl", small_split(), clients={"dropout": 0.999999})
    before = {name: tensor.clone() for name, tensor in parties.fed_server.theta.items()}
    result = parties.run_round()
    assert result.num_replies == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in parties.fed_server.theta.items())


def reply(**changes) -> ScalarReply:
    return dataclasses.replace(ScalarReply(0, 1, 10, 3, torch.tensor(torch.nan), torch.ones(6), {}), **changes)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"projected_gradients": torch.ones(5)}, MessageError, r"client 1 in round 1: expected .* shape \(6,\)"),
        ({"projected_gradients": torch.ones(6).double()}, MessageError, "found float64"),
        ({"projected_gradients": torch.tensor([1.0, torch.nan] * 3)}, TrainingError, "NaN or infinity from client 1"),
        ({"model": {"client.0.weight": torch.ones(3)}}, MessageError, "client.0.weight"),
    ],
)
def test_scalars_that_do_not_fit_are_refused_and_leave_no_trace(changes, error, message: str) -> None:
    fed_server = federation("ho_sfl", small_split()).fed_server
    before = {name: tensor.clone() for name, tensor in fed_server.theta.items()}
    with pytest.raises(error, match=message):
        fed_server.accept(reply(**changes))
    assert fed_server.average()[1] == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in fed_server.theta.items())
    fed_server.accept(reply())
    assert fed_server.average()[1] == 1
    assert any(not torch.equal(tensor, before[name]) for name, tensor in fed_server.theta.items())


def test_a_model_is_refused_where_scalars_are_expected() -> None:
    dense = next(message for message in reversed(sent(federation("sflv2", small_split()))) if hasattr(message, "model"))
    with pytest.raises(MessageError, match="expected a ScalarReply, found ClientReply"):
        federation("ho_sfl", small_split()).fed_server.accept(dense)


@pytest.mark.parametrize("optimizer", ["adam", "momentum"])
def test_ho_sfl_refuses_another_rule_than_sgd(optimizer: str) -> None:
    with pytest.raises(ConfigError, match=f"ho_sfl: expected client.optimizer of sgd, found {optimizer}"):
        federation("ho_sfl", small_split(), optimizer=optimizer)


@pytest.mark.parametrize("name", ["ho_sfl", "hosl"])
def test_no_probes_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"estimator\.probes of at least 1"):
        federation(name, small_split(), estimator={"probes": 0})


def stateful_split() -> SplitModel:
    """BatchNorm and Dropout on both sides of the cut."""
    torch.manual_seed(2)
    client = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Dropout(0.3))
    server = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(16, 5))
    return SplitModel(client, server)


@pytest.mark.parametrize(("scheme", "uploads"), [("one_sided", 3), ("central", 5)])
def test_hosl_uploads_its_probes_and_the_clean_pass_last(scheme: str, uploads: int) -> None:
    messages = sent(federation("hosl", stateful_split(), keep_state=True, estimator={"scheme": scheme}))
    seen = [message for message in messages if isinstance(message, ProbeData | SmashedData | LossAnswer)]
    first = [message for message in seen if (message.client_id, message.local_step) == (0, 1)]
    assert [type(message) for message in first] == [ProbeData, LossAnswer] * (uploads - 1) + [SmashedData, LossAnswer]
    assert [message.probe for message in first if isinstance(message, ProbeData)] == list(range(uploads - 1))
    assert len(seen) == 2 * uploads * (2 + 4 + 3)


def test_the_loss_server_learns_from_the_clean_upload_alone() -> None:
    """A probe at the clean point gets the clean loss: same theta_s, same masks; nothing but training changes state."""
    parties = federation("hosl", stateful_split())
    server, split = parties.main_server, parties.split.train()
    smashed, labels = torch.randn(BATCH, 3, 4, 4), torch.arange(BATCH) % 5
    before = {name: tensor.clone() for name, tensor in split.server.state_dict().items()}
    probed = [server.answer(ProbeData(0, 0, 1, probe, smashed, labels)) for probe in range(2)]
    assert all(torch.equal(tensor, before[name]) for name, tensor in split.server.state_dict().items())
    clean = server.answer(SmashedData(0, 0, 1, smashed, labels))
    assert torch.equal(probed[0].loss, clean.loss)
    assert torch.equal(probed[1].loss, clean.loss)
    assert clean.loss.dtype == torch.float32
    after = split.server.state_dict()
    assert int(after["1.num_batches_tracked"]) == 1
    assert not torch.equal(after["4.weight"], before["4.weight"])
    assert server.take_mean_loss() == pytest.approx(float(clean.loss))
    other = server.answer(ProbeData(0, 0, 2, 0, smashed, labels))
    assert not torch.equal(other.loss, clean.loss)


def test_hosl_descends_the_loss_of_the_whole_network() -> None:
    """With many probes the client's step is the one that backpropagation would take."""
    probes = 256
    estimator = Probes(1e-3, probes, scheme="central")
    split = small_split()
    reference = copy.deepcopy(split)
    parties = federation("hosl", split, [np.arange(4)], learning_rate=1e-3, estimator=estimator)
    before = [p.detach().clone() for p in split.client.parameters()]
    inputs, labels = parties.dataset.tensors
    loss = cross_entropy(reference.server(reference.client(inputs[:4])), labels[:4])
    gradient = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(reference.client.parameters()))])
    parties.run_round()
    after = list(parties.load_global_model().client.parameters())
    step = torch.cat([(old - new.detach()).reshape(-1) for old, new in zip(before, after, strict=True)])
    # Relative variance of the estimate: about d / P with d = 30.
    assert float(torch.cosine_similarity(step, gradient, dim=0)) > 0.85
    # Along the gradient its relative standard deviation is sqrt(2 / P) at most.
    assert float(step @ gradient) == pytest.approx(1e-3 * float(gradient @ gradient), rel=0.3)


@pytest.mark.parametrize("name", ["heron", "sflv2", "ho_sfl"])
def test_other_servers_refuse_probes(name: str) -> None:
    parties = federation(name, small_split())
    with pytest.raises(MessageError, match="expected SmashedData, found ProbeData"):
        parties.main_server.answer(ProbeData(0, 0, 0, 0, torch.ones(1, 3, 4, 4), torch.zeros(1).long()))


@pytest.mark.parametrize("name", ["ho_sfl", "hosl"])
def test_frozen_parameters_of_the_client_stay_and_do_not_travel(name: str) -> None:
    split = small_split()
    split.client[0].bias.requires_grad_(False)
    bias = split.client[0].bias.clone()
    messages = sent(parties := federation(name, split))
    assert set(messages[0].model) == {"client.0.weight"}
    assert torch.equal(parties.load_global_model().client[0].bias, bias)
