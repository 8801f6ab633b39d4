"""Layer-local clients against plain loops, and their way to a federation: heads, seeds, refusals."""

import copy
import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from heron.algorithms import ALGORITHMS
from heron.arrays import copied
from heron.client.layer_local import LayerLocalClient
from heron.client.round import finish
from heron.data import Batch
from heron.seeds import StepKey
from heron.split import ClientPart, SplitModel, linear_head
from heron.wire.groups import Client, Probes, Settings
from tests.reference.boundary import Memory, Plan
from tests.reference.layer_local import Group, train_round

RUN_SEED = 5
SGD, ADAM = Plan("sgd", 0.02, 0.05), Plan("adam", 3e-3, 1e-2)


def network(dropout: float = 0.3) -> SplitModel:
    """Three groups: two of convolution, norm, ReLU and Dropout, one of a convolution."""
    torch.manual_seed(2)

    def block(channels: int, outputs: int) -> list[nn.Module]:
        # No bias before a norm: its gradient is rounding alone, of which Adam makes whole steps.
        norm = nn.BatchNorm2d(outputs)
        return [
            nn.Conv2d(channels, outputs, 3, padding=1, bias=False),
            norm,
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
        ]

    layers = [*block(1, 3), *block(3, 4), nn.Conv2d(4, 2, 3, padding=1)]
    return SplitModel(nn.Sequential(*layers), nn.Sequential(nn.Flatten(), nn.Linear(32, 5)), linear_head((2, 4, 4), 5))


def batches(client_id: int, round_index: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(10 * round_index + client_id)
    draw = [(torch.randn(size, 1, 4, 4, generator=generator), size) for size in (7, 7, 4)]
    return [(inputs, torch.randint(0, 5, (size,), generator=generator)) for inputs, size in draw]


def settings_of(plan: Plan, algorithm: str, keep_state: bool, **client) -> Settings:
    rates = {"learning_rate": plan.rate, "exact_learning_rate": plan.exact_rate}
    if algorithm == "local":  # it has one rate
        rates = {"learning_rate": plan.exact_rate}
    group = Client(optimizer=plan.optimizer, keep_state=keep_state, local_pool=2, **rates, **client)
    return Settings(client=group, estimator=Probes(plan.mu, plan.probes))


CASES = {
    "local": ("local", {}, 9, ("exact", "exact", "exact")),
    "exact": ("heron", {"learning": "local_exact"}, 9, ("exact", "exact", "exact")),
    "two groups": ("heron", {"learning": "local_exact", "groups": 2}, 9, ("exact", "exact")),
    "two above": ("heron", {"learning": "local_exact", "exact": 4}, 4, ("exact", "exact")),
    "probes": ("heron", {"learning": "local_zeroth_order"}, 9, ("probes", "probes", "probes")),
    "exact heads": ("heron", {"learning": "local_zeroth_order", "exact": 1}, 9, ("exact head",) * 3),
    "one above": ("heron", {"learning": "local_zeroth_order", "exact": 2}, 8, ("exact head", "exact head", "exact")),
}
"""Name -> algorithm, settings, layers below the exact part, ways to learn of the groups."""
STARTS = {"two groups": (0, 8, 9), "two above": (0, 4, 9)}


@pytest.mark.parametrize("plan", [SGD, replace(ADAM, probes=2)], ids=lambda plan: plan.optimizer)
@pytest.mark.parametrize("keep_state", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_equals_plain_loops(name: str, keep_state: bool, plan: Plan) -> None:
    """Two clients take turns in one resident network for three rounds, each with parameters and a state of its own.

    By probes alone bit for bit; gradients are formulas here and autograd's there.
    """
    algorithm, own, _, ways = CASES[name]
    row, settings = ALGORITHMS[algorithm], settings_of(plan, algorithm, keep_state, **own)
    split = row.equipped(network(), settings, torch.zeros(2, 1, 4, 4))
    _, learner = row.torch_client(split, cross_entropy, settings)
    assert isinstance(learner, LayerLocalClient)
    halves = [copy.deepcopy((split.client, split.local_heads, split.auxiliary)) for _ in range(2)]
    literal = [literal_groups(parts, STARTS.get(name, (0, 4, 8, 9)), ways) for parts in halves]
    models = [{name: tensor.clone() for name, tensor in learner.model().items()}] * 2
    states: list[dict] = [{}, {}]
    for round_index in range(3):
        for client_id, groups in enumerate(literal):
            if not keep_state:
                for group in groups:
                    group.memory, group.whole = Memory(), None
            data, where = batches(client_id, round_index), (round_index, client_id)
            expected = train_round(groups, cross_entropy, data, plan, where)
            learner.load(models[client_id], states[client_id])
            losses = []
            for local_step, (inputs, labels) in enumerate(data):
                step = learner.step(Batch(inputs, labels), StepKey(RUN_SEED, *where, local_step))
                next(step)
                losses.append(float(finish(step).loss))
            models[client_id] = {name: tensor.clone() for name, tensor in learner.model().items()}
            states[client_id] = {name: copied(array) for name, array in learner.state().items()}
            assert losses == pytest.approx(expected, rel=1e-6)
            client, heads, auxiliary = halves[client_id]
            module = nn.ModuleDict({"client": client, "local_heads": heads, "auxiliary": auxiliary})
            assert models[client_id].keys() == module.state_dict().keys()
            for key, tensor in module.state_dict().items():
                found, place = models[client_id][key], (round_index, client_id, key)
                exactly = set(ways) == {"probes"}
                assert torch.allclose(found, tensor, rtol=0 if exactly else 1e-4, atol=0 if exactly else 1e-5), place
    assert not torch.equal(models[0]["client.0.weight"], models[1]["client.0.weight"])
    has_moments = plan.optimizer != "sgd" or set(ways) != {"exact"}
    assert bool(states[0]) == (keep_state and has_moments)


def literal_groups(parts: tuple, starts: tuple[int, ...], ways: tuple[str, ...]) -> list[Group]:
    client, heads, auxiliary = parts
    layers = [client[start:stop] for start, stop in itertools.pairwise(starts)]
    return [Group(*each) for each in zip(layers, [*heads, auxiliary], ways, strict=True)]


def test_one_groups_activations_are_alive_at_a_time() -> None:
    """No tensor of a lower group's graph survives its step."""
    settings = settings_of(SGD, "local", keep_state=False)
    split = ALGORITHMS["local"].equipped(network(0.0), settings, torch.zeros(2, 1, 4, 4))
    _, learner = ALGORITHMS["local"].torch_client(split, cross_entropy, settings)
    (inputs, labels), *_ = batches(0, 0)
    alive: list[bool] = []
    first = split.client[0]
    first.register_forward_hook(lambda *_: alive.append(first.weight.grad is None))
    split.client[4].register_forward_hook(lambda *_: alive.append(first.weight.grad is None))
    step = learner.step(Batch(inputs, labels), StepKey(0, 0, 0, 0))
    smashed = next(step)
    assert not smashed.requires_grad
    assert alive == [True, True]  # the first group has learned, and released its gradients, before the second begins
    finish(step)


def test_local_heads_depend_on_the_seed_alone_and_are_the_same_for_a_device() -> None:
    settings = settings_of(SGD, "local", keep_state=False)
    inputs = torch.zeros(2, 1, 4, 4)
    whole = ALGORITHMS["local"].equipped(network(), settings, inputs)
    torch.manual_seed(99)
    part = ALGORITHMS["local"].equipped(ClientPart(network().client, network().auxiliary), settings, inputs[:1])
    other = ALGORITHMS["local"].equipped(network(), replace(settings, seed=1), inputs)
    found, expected, different = (each.local_heads.state_dict() for each in (part, whole, other))
    assert list(expected) == ["0.fc.weight", "0.fc.bias", "1.fc.weight", "1.fc.bias"]
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor)
        assert not torch.equal(different[name], tensor)


def test_other_algorithms_have_no_local_heads() -> None:
    split = network()
    for name in ("heron", "cse_fsl", "frozen"):
        assert ALGORITHMS[name].equipped(split, Settings(), torch.zeros(2, 1, 4, 4)) is split
