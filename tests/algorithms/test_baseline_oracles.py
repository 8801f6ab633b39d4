"""The paper's baselines against literal oracles, and against plain training where one client makes them that."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from heron.algorithms import ALGORITHMS
from heron.engines.in_process import Federation
from heron.split import SplitModel
from heron.wire.groups import Client, Clients, Server, Settings
from tests.algorithms.test_oracles import BATCH, NUM_CLIENTS, ROUNDS, SEED, assert_same, data, order, small_split
from tests.reference.baselines import fedavg, fsl_sage, splitfed

WEIGHTINGS = pytest.mark.parametrize("weighting", ["equal", "examples"])
SERVER = Server("sgd", 0.1, alignment_period=2, alignment_steps=3, alignment_learning_rate=1e-2)


def trained(name: str, split: SplitModel, weighting: str, rounds: int = ROUNDS) -> Federation:
    dataset, partition = data()
    settings = Settings(
        seed=SEED,
        clients=Clients(weighting=weighting),
        client=Client(batch_size=BATCH, optimizer="sgd", learning_rate=0.05, keep_state=False),
        server=SERVER,
    )
    federation = Federation(split, ALGORITHMS[name], dataset, partition, settings)
    for _ in range(rounds):
        federation.run_round()
    federation.load_global_model()
    return federation


def weights(weighting: str) -> list[float]:
    return [1.0] * NUM_CLIENTS if weighting == "equal" else [float(len(share)) for share in data()[1]]


def parameters(module: nn.Module) -> list[torch.Tensor]:
    return [parameter.detach() for parameter in module.parameters()]


@WEIGHTINGS
@pytest.mark.parametrize("version", [1, 2])
def test_splitfed_equals_the_literal_oracle(version: int, weighting: str) -> None:
    split = small_split()
    parts = copy.deepcopy((split.client, split.server))
    dataset, partition = data()
    theta_c, theta_s = splitfed(
        version,
        *parts,
        *dataset.tensors,
        order(partition),
        weights=weights(weighting),
        rounds=ROUNDS,
        client_rate=0.05,
        server_rate=0.1,
    )
    found = trained(f"sflv{version}", split, weighting).split
    assert_same(parameters(found.client), theta_c)
    assert_same(parameters(found.server), theta_s)


@WEIGHTINGS
def test_fedavg_equals_the_literal_oracle(weighting: str) -> None:
    split = small_split()
    network = copy.deepcopy(nn.Sequential(split.client, split.server))
    dataset, partition = data()
    theta = fedavg(network, *dataset.tensors, order(partition), weights=weights(weighting), rounds=ROUNDS, rate=0.05)
    found = trained("fedavg", split, weighting).split
    assert_same([*parameters(found.client), *parameters(found.server)], theta)


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_fsl_sage_equals_the_literal_oracle(rounds: int) -> None:
    """Aligned after the second round only; the third learns from the aligned auxiliary network."""
    split = small_split()
    parts = copy.deepcopy((split.client, split.auxiliary, split.server))
    dataset, partition = data()
    theta_c, theta_a, theta_s = fsl_sage(
        *parts,
        *dataset.tensors,
        order(partition),
        weights=weights("equal"),
        rounds=rounds,
        client_rate=0.05,
        server_rate=0.1,
        period=SERVER.alignment_period,
        steps=SERVER.alignment_steps,
        rate=SERVER.alignment_learning_rate,
    )
    found = trained("fsl_sage", split, "equal", rounds)
    assert_same(parameters(found.split.client), theta_c)
    assert_same(parameters(found.split.server), theta_s)
    assert_same(list(found.fed_server.downlink_only.values()), theta_a)
    assert_same(parameters(found.split.auxiliary), theta_a)
    assert rounds == 1 or not torch.equal(theta_a[0], next(parts[1].parameters()))


def test_alignment_brings_the_gradients_together() -> None:
    """What FSL-SAGE is for: the auxiliary network's gradient at the cut comes to resemble the server's."""

    def distance(period: int) -> float:
        federation = Federation(
            small_split(),
            ALGORITHMS["fsl_sage"],
            *data(),
            Settings(client=Client(batch_size=BATCH), server=Server(alignment_period=period, alignment_steps=50)),
        )
        for _ in range(3):
            federation.run_round()
        split = federation.load_global_model()
        inputs, labels = federation.dataset.tensors
        smashed = split.client(inputs).detach().requires_grad_()
        gradients = [
            torch.autograd.grad(cross_entropy(head(smashed), labels), smashed)[0]
            for head in (split.auxiliary, split.server)
        ]
        return float((gradients[0] - gradients[1]).square().sum() / gradients[1].square().sum())

    assert distance(1) < 0.5 * distance(1000)


def layers(*, batchnorm: bool) -> list[nn.Module]:
    torch.manual_seed(1)
    norms = (nn.BatchNorm2d(3), nn.BatchNorm2d(4)) if batchnorm else (nn.Identity(), nn.Identity())
    client = [nn.Conv2d(1, 3, 3, padding=1), norms[0], nn.ReLU()]
    return [*client, nn.Conv2d(3, 4, 3), norms[1], nn.ReLU(), nn.Flatten(), nn.Linear(16, 5)]


@pytest.mark.parametrize("batchnorm", [False, True])
@pytest.mark.parametrize("name", ["sflv1", "sflv2", "fedavg"])
def test_one_client_is_plain_end_to_end_training(name: str, batchnorm: bool) -> None:
    """Adam on both sides, its state kept: the uncut network under one Adam, bit for bit."""
    uncut = nn.Sequential(*layers(batchnorm=batchnorm))
    split = SplitModel(nn.Sequential(*copy.deepcopy(uncut)[:3]), nn.Sequential(*copy.deepcopy(uncut)[3:]))
    dataset, _ = data()
    everyone = [np.arange(30)]
    client, server = Client(batch_size=BATCH, learning_rate=1e-2), Server(learning_rate=1e-2)
    settings = Settings(seed=SEED, client=client, server=server)
    federation = Federation(split, ALGORITHMS[name], dataset, everyone, settings)
    adam = torch.optim.Adam(uncut.parameters(), lr=1e-2)
    for round_index in range(3):
        federation.run_round()
        for chosen in order(everyone)(round_index, 0):
            adam.zero_grad()
            cross_entropy(uncut(dataset.tensors[0][chosen]), dataset.tensors[1][chosen]).backward()
            adam.step()
    found = federation.load_global_model()
    expected = list(uncut.state_dict().values())
    assert_same([*found.client.state_dict().values(), *found.server.state_dict().values()], expected)


def test_sflv1_and_sflv2_differ_with_several_clients() -> None:
    first, second = (trained(name, small_split(), "equal").split.server for name in ("sflv1", "sflv2"))
    assert not torch.equal(first[1].weight, second[1].weight)


def test_the_largest_step_counter_of_the_copies_is_kept() -> None:
    """Clients with 3, 3 and 3 batches of 4 in a round: the server's Adam has made 3 steps, not 9 and not a mean."""
    dataset, partition = data()
    federation = Federation(
        small_split(), ALGORITHMS["sflv1"], dataset, partition, Settings(client=Client(batch_size=BATCH))
    )
    federation.run_round()
    steps = [value for name, value in federation.main_server.state().items() if name.endswith("/step")]
    assert [float(step) for step in steps] == [3.0, 3.0]
