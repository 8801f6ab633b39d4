"""`server.refresh_auxiliary`: the Main Server aligns the averaged auxiliary network of clients that train it."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from heron.algorithms import ALGORITHMS
from heron.cli.main import main
from heron.engines.in_process import Federation
from heron.errors import ConfigError
from heron.runs.run_directory import RunDirectory
from heron.server.alignment import AligningServer
from heron.split import SplitModel
from heron.wire.groups import Client, Probes, Server, Settings
from tests.algorithms.test_oracles import BATCH, NUM_CLIENTS, SEED, assert_same, data, order, small_split
from tests.conformance.test_algorithms import (
    CHANNELS,
    CLASSES,
    assert_equal,
    comparable,
    examples,
    federation,
    partition,
    run,
    split_model,
    tensors_of,
)
from tests.reference.baselines import align
from tests.reference.heron_sfl import cse_fsl, heron_sfl

TRAINED = ("heron", "cse_fsl")
TRAINING = pytest.mark.parametrize("name", TRAINED)
PERIOD, STEPS, RATE = 2, 3, 1e-2
REFRESH = {
    "refresh_auxiliary": True,
    "alignment_period": PERIOD,
    "alignment_steps": STEPS,
    "alignment_learning_rate": RATE,
}


def refresh(round_index: int, f_a: nn.Module, f_s: nn.Module, stored: list[tuple[Tensor, Tensor]]) -> None:
    if (round_index + 1) % PERIOD == 0:
        align(f_a, f_s, stored, STEPS, RATE)


@pytest.mark.parametrize("rounds", [1, 2, 3])
@TRAINING
def test_equals_the_literal_oracle(name: str, rounds: int) -> None:
    """Aligned after the second round only; the third round's clients start from the aligned network."""
    split = small_split()
    parts = copy.deepcopy((split.client, split.auxiliary, split.server))
    dataset, shares = data()
    values = {"num_clients": NUM_CLIENTS, "rounds": rounds, "client_rate": 0.05, "server_rate": 0.1}
    oracle = heron_sfl if name == "heron" else cse_fsl
    if name == "heron":
        values |= {"run_seed": SEED, "mu": 1e-2, "probes": 2}
    theta_l, theta_s = oracle(*parts, *dataset.tensors, order(shares), **values, refresh=refresh)
    settings = Settings(
        seed=SEED,
        client=Client(batch_size=BATCH, optimizer="sgd", learning_rate=0.05, keep_state=False),
        estimator=Probes(1e-2, 2),
        server=Server("sgd", 0.1, **REFRESH),
    )
    parties = Federation(split, ALGORITHMS[name], dataset, shares, settings)
    for _ in range(rounds):
        parties.run_round()
    assert_same(list(parties.fed_server.model.values()), theta_l)
    assert_same([parameter.detach() for parameter in split.server.parameters()], theta_s)


def with_a_head_that_normalises() -> SplitModel:
    split = split_model()
    head = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16 * CHANNELS), nn.Linear(16 * CHANNELS, CLASSES))
    return SplitModel(split.client, split.server, head)


def distance(split: SplitModel, auxiliary: dict[str, Tensor], smashed: Tensor, labels: Tensor) -> float:
    z = smashed.clone().requires_grad_()
    own = {name.removeprefix("auxiliary."): tensor for name, tensor in auxiliary.items()}
    outputs = torch.func.functional_call(copy.deepcopy(split.auxiliary), own, (z,))
    (found,) = torch.autograd.grad(cross_entropy(outputs, labels), z)
    (target,) = torch.autograd.grad(cross_entropy(copy.deepcopy(split.server)(z), labels), z)
    return float((found - target).square().sum() / target.square().sum())


@TRAINING
def test_brings_the_gradients_together_and_touches_nothing_else(name: str) -> None:
    settings = Settings(
        client=Client(batch_size=8), server=Server(refresh_auxiliary=True, alignment_period=1, alignment_steps=30)
    )
    parties = Federation(with_a_head_that_normalises(), ALGORITHMS[name], examples(), partition(), settings)
    server, after_average = parties.main_server, parties.main_server.after_average
    trained = {f"auxiliary.{key}" for key, _ in parties.split.auxiliary.named_parameters()}

    def watched(round_index: int, fed_server) -> None:
        stored = list(server._stored)
        assert [upload.client_id for upload in stored] == [0, 1, 2]
        before = {key: tensor.clone() for key, tensor in tensors_of(parties).items()}
        model = {key: tensor.clone() for key, tensor in fed_server.model.items()}
        buffers = {key: tensor.clone() for key, tensor in parties.split.named_buffers()}
        after_average(round_index, fed_server)
        changed = {key for key, tensor in tensors_of(parties).items() if not torch.equal(tensor, before[key])}
        assert changed == {f"fed_server::{key}" for key in trained}
        assert_equal(dict(parties.split.named_buffers()), buffers)
        assert all(parameter.grad is None for parameter in parties.split.auxiliary.parameters())
        sums = [
            sum(
                distance(parties.split, {key: of[key] for key in trained}, upload.smashed, upload.labels)
                for upload in stored
            )
            for of in (model, fed_server.model)
        ]
        assert sums[1] < 0.7 * sums[0]
        watched.calls += 1

    watched.calls = 0
    server.after_average = watched
    for _ in range(2):
        parties.run_round()
    assert watched.calls == 2
    broadcast = parties.fed_server.broadcast(2, 0).model
    parties.learner.load(broadcast, {})
    assert all(
        torch.equal(tensor, broadcast[f"auxiliary.{key}"]) for key, tensor in parties.split.auxiliary.named_parameters()
    )


def test_a_server_gradient_of_zero_leaves_the_network_alone() -> None:
    """Zero weights in the server's last layer: no direction, and no distance relative to it."""
    split = split_model()
    nn.init.zeros_(split.server[1].weight)
    still = Server("sgd", 1e-300)  # rounds to no step at all
    settings = Settings(client=Client(batch_size=8), server=replace(still, refresh_auxiliary=True))
    parties = Federation(split, ALGORITHMS["heron"], examples(), partition(), settings)
    plain = federation("heron", client=Client(batch_size=8), server=still)
    for each in (parties, plain):
        each.run_round()
    assert_equal(parties.fed_server.model, plain.fed_server.model)


@pytest.mark.parametrize("optimizer", ["average", "adam"])
@TRAINING
def test_resumes_bit_for_bit_and_the_wire_changes_nothing(name: str, optimizer: str, tmp_path) -> None:
    changes = {"server": REFRESH, "fed_server": {"optimizer": optimizer}}
    whole = run(name, RunDirectory(tmp_path / "whole"), wire=True, **changes)
    whole.train()
    for rounds in (1, 2, 3):  # before, at and after an alignment
        part = run(name, RunDirectory(tmp_path / "cut"), rounds=rounds, wire=True, **changes)
        assert part.restore() == rounds - 1
        part.train()
    resumed = run(name, RunDirectory(tmp_path / "cut"), wire=True, **changes)
    assert resumed.restore() == 3
    resumed.train()
    assert comparable(resumed.directory.read_metrics()) == comparable(whole.directory.read_metrics())
    assert resumed.directory.checkpoint.read_bytes() == whole.directory.checkpoint.read_bytes()
    reference = run(name, wire=False, **changes)
    reference.train()
    assert_equal(tensors_of(reference.federation), tensors_of(whole.federation))
    plain = run(name, wire=False, fed_server={"optimizer": optimizer})
    plain.train()
    assert plain.federation.ledger.to_dict() == reference.federation.ledger.to_dict(), "it costs no byte"
    assert not torch.equal(plain.federation.split.client[0].weight, reference.federation.split.client[0].weight)


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_has_a_meaning_where_clients_train_an_auxiliary_network(name: str) -> None:
    has_auxiliary = name in {*TRAINED, "local"}
    assert ALGORITHMS[name].trains_auxiliary == has_auxiliary
    if has_auxiliary:
        assert isinstance(federation(name, server={"refresh_auxiliary": True}).main_server, AligningServer)
        assert not isinstance(federation(name).main_server, AligningServer)
        return
    with pytest.raises(ConfigError, match=f"server.refresh_auxiliary=false with {name}, found true") as caught:
        federation(name, server={"refresh_auxiliary": True})
    assert "\n" not in str(caught.value)


def test_the_command_line_refuses_it_in_one_line(capsys) -> None:
    assert main(["train", "digits", "--algorithm", "frozen", "--set", "server.refresh_auxiliary=true"]) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    assert "server.refresh_auxiliary=false with frozen" in error
