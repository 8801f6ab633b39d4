"""`heron.client.torch_runtime.boundary` against oracles: its ends are the published methods, the middle plain loops."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from heron.algorithms import ALGORITHMS
from heron.arrays import copied
from heron.client.first_order import LocalLossClient
from heron.client.round import finish
from heron.data import Batch
from heron.engines.in_process import Federation
from heron.seeds import StepKey
from heron.split import SplitModel
from heron.wire.groups import Client, Probes, Server, Settings
from tests.algorithms.test_oracles import BATCH, NUM_CLIENTS, ROUNDS, SEED, assert_same, data, order, small_split
from tests.reference.boundary import Memory, Plan, train_round
from tests.reference.heron_sfl import cse_fsl, heron_sfl
from tests.settings import changed

RUN_SEED = 5
BATCHNORM = {2: 5, 3: 4, 4: 1}
"""Modules trained exactly -> layers of `network` under the boundary: BatchNorms count, GroupNorms have no weights."""
PLAIN = {1: 8, 2: 4}


def federation(name: str, split: SplitModel | None = None, **changes) -> Federation:
    client = Client(batch_size=BATCH, optimizer="sgd", keep_state=False)
    settings = changed(Settings(seed=SEED, client=client, server=Server("sgd", 0.1)), **changes)
    return Federation(split or small_split(), ALGORITHMS[name], *data(), settings)


def after_rounds(parties: Federation, rounds: int = ROUNDS) -> dict[str, torch.Tensor]:
    for _ in range(rounds):
        parties.run_round()
    return {name: tensor.clone() for name, tensor in parties.state()[0].items()}


def literal(oracle, split: SplitModel, client_rate: float, **settings):
    parts = copy.deepcopy((split.client, split.auxiliary, split.server))
    inputs, labels = data()[0].tensors
    counts = {"num_clients": NUM_CLIENTS, "rounds": ROUNDS}
    return oracle(
        *parts, inputs, labels, order(data()[1]), client_rate=client_rate, server_rate=0.1, **counts, **settings
    )


def test_nothing_exact_equals_the_oracle_of_heron_sfl() -> None:
    split = small_split()
    theta_l, theta_s = literal(heron_sfl, split, 0.05, run_seed=SEED, mu=1e-2, probes=2)
    parties = federation("heron", split, learning_rate=0.05, estimator=Probes(1e-2, 2), exact_learning_rate=9.0)
    after_rounds(parties)
    assert_same(list(parties.fed_server.model.values()), theta_l)
    assert_same([p.detach() for p in split.server.parameters()], theta_s)


@pytest.mark.parametrize("exact", ["all", 2])
@pytest.mark.parametrize("rates", [(0.05, 0.0), (9.0, 0.05)])
def test_everything_exact_equals_the_oracle_of_cse_fsl(exact, rates) -> None:
    split = small_split()
    theta_l, theta_s = literal(cse_fsl, split, 0.05)
    client = {"learning_rate": rates[0], "exact_learning_rate": rates[1], "exact": exact}
    parties = federation("heron", split, estimator={"probes": 0}, client=client)
    after_rounds(parties)
    assert_same(list(parties.fed_server.model.values()), theta_l)
    assert_same([p.detach() for p in split.server.parameters()], theta_s)


@pytest.mark.parametrize("keep_state", [False, True])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_everything_exact_is_cse_fsl_with_any_optimiser(optimizer: str, keep_state: bool) -> None:
    client = {"optimizer": optimizer, "keep_state": keep_state, "learning_rate": 0.01}
    expected = federation("cse_fsl", client=client)
    found = federation("heron", client=client | {"learning_rate": 9.0, "exact": "all", "exact_learning_rate": 0.01})
    tensors, others = after_rounds(found, 3), after_rounds(expected, 3)
    assert tensors.keys() == others.keys()
    for name, tensor in others.items():
        assert torch.equal(tensors[name], tensor), name
    assert bool(found.states.index()) == (keep_state and optimizer != "sgd")


def network(norm: str, dropout: float) -> SplitModel:
    """Conv, norm, ReLU, Dropout twice; below and above the boundary there is one of each, wherever it lies."""
    torch.manual_seed(2)

    def block(channels: int, outputs: int) -> list[nn.Module]:
        normalise = nn.BatchNorm2d(outputs) if norm == "batch" else nn.GroupNorm(1, outputs, affine=False)
        return [nn.Conv2d(channels, outputs, 3, padding=1), normalise, nn.ReLU(inplace=True), nn.Dropout(dropout)]

    convolutions = [*block(1, 3), *block(3, 4)]
    head = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.Dropout(dropout), nn.Tanh(), nn.Linear(6, 5))
    return SplitModel(nn.Sequential(*convolutions), nn.Sequential(nn.Flatten(), nn.Linear(64, 5)), head)


def batches(client_id: int, round_index: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(10 * round_index + client_id)
    draw = [(torch.randn(size, 1, 4, 4, generator=generator), size) for size in (7, 7, 4)]
    return [(inputs, torch.randint(0, 5, (size,), generator=generator)) for inputs, size in draw]


def check_against_the_oracle(
    plan: Plan, exact: int, below: int, *, norm: str, dropout: float, keep_state: bool = True, checkpointing=False
) -> None:
    """Two clients take turns in one resident network for three rounds, each with parameters and a state of its own."""
    split = network(norm, dropout)
    halves = [copy.deepcopy((split.client, split.auxiliary)) for _ in range(2)]
    memories = [Memory(), Memory()]
    client = Client(
        optimizer=plan.optimizer,
        learning_rate=plan.rate,
        keep_state=keep_state,
        exact=exact,
        exact_learning_rate=plan.exact_rate,
        micro_batch=plan.micro_batch or 0,
        checkpointing=checkpointing,
    )
    estimator = Probes(plan.mu, plan.probes, scheme="central" if plan.central else "one_sided")
    settings = Settings(client=client, estimator=estimator)
    _, learner = ALGORITHMS["heron"].torch_client(split, cross_entropy, settings)
    assert isinstance(learner, LocalLossClient)
    models = [{name: tensor.clone() for name, tensor in learner.model().items()}] * 2
    states: list[dict[str, torch.Tensor]] = [{}, {}]
    for round_index in range(3):
        for client_id, (client, head) in enumerate(halves):
            lower, upper = nn.Sequential(*client[:below]), nn.Sequential(*client[below:], *head)
            if not keep_state:
                memories[client_id] = Memory()
            data_of_round = batches(client_id, round_index)
            where, memory = (round_index, client_id), memories[client_id]
            expected = train_round(lower, upper, cross_entropy, data_of_round, plan, where, memory)
            learner.load(models[client_id], states[client_id])
            losses = []
            for local_step, (inputs, labels) in enumerate(data_of_round):
                step = learner.step(Batch(inputs, labels), StepKey(RUN_SEED, *where, local_step))
                next(step)
                losses.append(float(finish(step).loss))
            models[client_id] = {name: tensor.clone() for name, tensor in learner.model().items()}
            states[client_id] = {name: copied(array) for name, array in learner.state().items()}
            assert losses == pytest.approx(expected, rel=1e-6)
            literal_model = nn.ModuleDict({"client": client, "auxiliary": head}).state_dict()
            assert models[client_id].keys() == literal_model.keys()
            for name, tensor in literal_model.items():
                assert torch.equal(models[client_id][name], tensor), (round_index, client_id, name)
    assert not torch.equal(models[0]["client.0.weight"], models[1]["client.0.weight"])


SGD, ADAM = Plan("sgd", 0.02, 0.05), Plan("adam", 3e-3, 1e-2)


@pytest.mark.parametrize("plan", [SGD, ADAM], ids=lambda plan: plan.optimizer)
@pytest.mark.parametrize("central", [False, True])
@pytest.mark.parametrize("probes", [1, 3])
def test_every_estimator(plan: Plan, central: bool, probes: int) -> None:
    plan = replace(plan, probes=probes, central=central)
    check_against_the_oracle(plan, 3, BATCHNORM[3], norm="batch", dropout=0.3)


@pytest.mark.parametrize("keep_state", [False, True])
@pytest.mark.parametrize(("exact", "below"), BATCHNORM.items())
def test_batchnorm_and_dropout_below_and_above(exact: int, below: int, keep_state: bool) -> None:
    plan = replace(ADAM, probes=2)
    check_against_the_oracle(plan, exact, below, norm="batch", dropout=0.3, keep_state=keep_state)


@pytest.mark.parametrize("micro_batch", [None, 3, 20])
@pytest.mark.parametrize(("exact", "below"), PLAIN.items())
@pytest.mark.parametrize("checkpointing", [False, True])
def test_micro_batches_and_checkpointing(micro_batch, exact: int, below: int, checkpointing: bool) -> None:
    plan = replace(SGD, micro_batch=micro_batch)
    check_against_the_oracle(plan, exact, below, norm="group", dropout=0.3, checkpointing=checkpointing)


@pytest.mark.parametrize(("exact", "below"), BATCHNORM.items())
def test_checkpointing_with_batchnorm(exact: int, below: int) -> None:
    check_against_the_oracle(SGD, exact, below, norm="batch", dropout=0.3, checkpointing=True)
