"""Layer groups that a micro-batch goes through one after the other: the same bits, and no map of a whole batch."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from heron.algorithms import ALGORITHMS
from heron.client.layer_local import LayerLocalClient
from heron.client.round import finish
from heron.data import Batch
from heron.seeds import StepKey
from heron.split import SplitModel, linear_head
from heron.wire.groups import Client, Probes, Settings

SIZE, PIECE = 7, 3


def network(dropout: float = 0.0) -> SplitModel:
    """Three groups, of which the second has layers on the pooled map, and the last is one convolution."""
    torch.manual_seed(2)
    first = [nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU(inplace=True)]
    second = [nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Dropout(dropout)]
    layers = nn.Sequential(*first, *second, nn.Conv2d(4, 2, 1))
    return SplitModel(layers, nn.Sequential(nn.Flatten(), nn.Linear(8, 5)), linear_head((2, 2, 2), 5))


def learner_of(split: SplitModel, algorithm: str, micro_batch: int, **client) -> LayerLocalClient:
    group = Client(micro_batch=micro_batch, local_pool=2, learning_rate=1e-2, **client)
    settings = Settings(client=group, estimator=Probes(probes=1))
    row = ALGORITHMS[algorithm]
    _, learner = row.torch_client(row.equipped(split, settings, torch.zeros(2, 1, 4, 4)), cross_entropy, settings)
    assert isinstance(learner, LayerLocalClient)
    learner.load({name: tensor.clone() for name, tensor in learner.model().items()}, {})
    return learner


def trained(learner: LayerLocalClient) -> list[torch.Tensor]:
    """Smashed data and losses of three steps, and then the parameters."""
    found = []
    for local_step in range(3):
        generator = torch.Generator().manual_seed(local_step)
        labels = torch.randint(0, 5, (SIZE,), generator=generator)
        labels[local_step] = -100  # does not count: micro-batches have unequal shares
        step = learner.step(
            Batch(torch.randn(SIZE, 1, 4, 4, generator=generator), labels), StepKey(0, 0, 0, local_step)
        )
        found += [next(step).clone(), finish(step).loss.clone()]
    return [*found, *(tensor.clone() for tensor in learner.model().values())]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(
    ("algorithm", "client"), [("local", {}), ("heron", {"learning": "local_exact", "exact": 3})], ids=["local", "heron"]
)
def test_it_equals_one_group_after_the_other_bit_for_bit(algorithm: str, client: dict, optimizer: str) -> None:
    learner, slow = (learner_of(network(), algorithm, PIECE, optimizer=optimizer, **client) for _ in range(2))
    assert learner._pass is not None
    slow._pass = None
    for mine, other in zip(trained(learner), trained(slow), strict=True):
        assert torch.equal(mine, other)


def test_it_equals_an_undivided_batch() -> None:
    pairs = zip(trained(learner_of(network(), "local", PIECE)), trained(learner_of(network(), "local", 0)), strict=True)
    for mine, other in pairs:
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


def test_groups_are_given_micro_batches() -> None:
    split = network()
    learner = learner_of(split, "local", PIECE)
    sizes: list[int] = []
    split.client[3].register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    trained(learner)
    assert sizes == 3 * [3, 3, 1]


def test_micro_batches_have_dropout_masks_of_their_own() -> None:
    split = network(0.5)
    learner = learner_of(split, "local", PIECE)
    inputs = torch.randn(1, 1, 4, 4).expand(2 * PIECE, 1, 4, 4)
    step = learner.step(Batch(inputs, torch.zeros(2 * PIECE, dtype=torch.long)), StepKey(0, 0, 0, 0))
    smashed = next(step)
    finish(step)
    assert not torch.equal(smashed[:PIECE], smashed[PIECE:])


def test_groups_that_probe_and_undivided_batches_go_group_by_group() -> None:
    assert learner_of(network(), "heron", PIECE, learning="local_zeroth_order")._pass is None
    assert learner_of(network(), "local", 0)._pass is None
