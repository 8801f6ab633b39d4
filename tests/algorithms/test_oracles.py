"""The engine against the literal oracles of tests/reference/heron_sfl.py: the same parameters, bit for bit."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from heron.algorithms import ALGORITHMS
from heron.data import batch_indices
from heron.engines.in_process import Federation
from heron.seeds import derive_seed
from heron.split import SplitModel, linear_head
from heron.wire.groups import Client, Probes, Server, Settings
from tests.reference.heron_sfl import cse_fsl, heron_sfl

NUM_CLIENTS, ROUNDS, BATCH, SEED = 3, 2, 4, 7


def small_split() -> SplitModel:
    torch.manual_seed(3)
    client = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU())
    return SplitModel(client, nn.Sequential(nn.Flatten(), nn.Linear(48, 5)), linear_head((3, 4, 4), 5))


def data() -> tuple[TensorDataset, list[np.ndarray]]:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(30, 1, 4, 4, generator=generator)
    labels = torch.randint(0, 5, (30,), generator=generator)
    return TensorDataset(inputs, labels), [np.arange(0, 9), np.arange(9, 20), np.arange(20, 30)]


def order(partition: list[np.ndarray]):
    def of(round_index: int, client_id: int) -> list[list[int]]:
        mine = partition[client_id]
        seed = derive_seed("batches", SEED, client_id, round_index)
        return [mine[chosen].tolist() for chosen in batch_indices(len(mine), BATCH, None, seed)]

    return of


def trained(algorithm: str, split: SplitModel, estimator: Probes) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    dataset, partition = data()
    settings = Settings(
        seed=SEED,
        client=Client(batch_size=BATCH, optimizer="sgd", learning_rate=0.05, keep_state=False),
        estimator=estimator,
        server=Server("sgd", 0.1),
    )
    federation = Federation(split, ALGORITHMS[algorithm], dataset, partition, settings)
    for _ in range(ROUNDS):
        federation.run_round()
    return list(federation.fed_server.model.values()), [p.detach() for p in split.server.parameters()]


def assert_same(found: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.equal(mine, theirs), f"differs by {float((mine - theirs).abs().max()):.3g}"


@pytest.mark.parametrize("probes", [1, 3])
def test_heron_equals_the_literal_oracle(probes: int) -> None:
    split = small_split()
    parts = copy.deepcopy((split.client, split.auxiliary, split.server))
    dataset, partition = data()
    theta_l, theta_s = heron_sfl(
        *parts,
        *dataset.tensors,
        order(partition),
        num_clients=NUM_CLIENTS,
        rounds=ROUNDS,
        run_seed=SEED,
        mu=1e-2,
        probes=probes,
        client_rate=0.05,
        server_rate=0.1,
    )
    found_l, found_s = trained("heron", split, Probes(mu=1e-2, probes=probes))
    assert_same(found_l, theta_l)
    assert_same(found_s, theta_s)


def test_cse_fsl_equals_plain_autograd() -> None:
    split = small_split()
    parts = copy.deepcopy((split.client, split.auxiliary, split.server))
    dataset, partition = data()
    theta_l, theta_s = cse_fsl(
        *parts,
        *dataset.tensors,
        order(partition),
        num_clients=NUM_CLIENTS,
        rounds=ROUNDS,
        client_rate=0.05,
        server_rate=0.1,
    )
    found_l, found_s = trained("cse_fsl", split, Probes())
    assert_same(found_l, theta_l)
    assert_same(found_s, theta_s)


def test_frozen_keeps_its_client_and_trains_the_server() -> None:
    split = small_split()
    before = copy.deepcopy(split)
    trained("frozen", split, Probes())
    assert_same(list(split.client.parameters()), list(before.client.parameters()))
    assert not torch.equal(split.server[1].weight, before.server[1].weight)
