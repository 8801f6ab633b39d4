"""What a run of one's own network began with is told apart by digests; a difference is refused by name."""

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset, TensorDataset

from heron.data import Splits, labels_of
from heron.errors import CheckpointError
from heron.runs.origin import check_origin, origin_of
from heron.split import SplitModel, cut, linear_head

INPUTS = torch.randn(24, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(24) % 2
WHOLE = TensorDataset(INPUTS, LABELS)
SPLITS = Splits(WHOLE, TensorDataset(INPUTS[:4], LABELS[:4]), TensorDataset(INPUTS[4:9], LABELS[4:9]), 2)


class Scaled(nn.Module):
    """A layer of one's own, with settings that no repr shows, and a constant."""

    def __init__(self, scale: float = 1.0, act: Callable[[Tensor], Tensor] = torch.relu, shift: float = 0.0) -> None:
        super().__init__()
        self.scale, self.act = scale, act
        self.register_buffer("shift", torch.full((2,), shift), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.act(inputs * self.scale) + self.shift[0]


class Branched(nn.Module):
    """Not a sequence: it is cut by its graph."""

    def __init__(self, sign: int) -> None:
        super().__init__()
        self.first, self.second, self.sign = nn.Linear(4, 4), nn.Linear(4, 2), sign

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.first(inputs)
        return self.second(torch.relu(hidden) if self.sign > 0 else torch.tanh(hidden))


def network(*layers: nn.Module, seed: int = 1) -> SplitModel:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(4, 8), *(layers or (nn.ReLU(),)), nn.Linear(8, 2))
    return cut(net, after="0", example=INPUTS[:2], auxiliary=lambda shape: linear_head(shape, 2))


def frozen(value: float) -> SplitModel:
    split = network()
    nn.init.constant_(split.client[0].weight, value).requires_grad_(False)
    return split


def graph(sign: int) -> SplitModel:
    torch.manual_seed(0)
    return cut(Branched(sign), after="first", example=INPUTS[:2], auxiliary=lambda shape: linear_head(shape, 2))


def origin(split: SplitModel | None = None, splits: Splits = SPLITS, criterion: Any = cross_entropy, **settings: Any):
    return origin_of(split or network(), splits, labels_of(splits.train), criterion, {"seed": 0} | settings)


def difference(own: dict[str, Any], found: dict[str, Any]) -> str:
    with pytest.raises(CheckpointError) as caught:
        check_origin(Path("runs/a"), found, own)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("runs/a: expected ")
    assert message.endswith("; give the same to continue it, or another out= for a new run")
    return message


def with_weight(weight: float) -> nn.Module:
    return nn.CrossEntropyLoss(weight=torch.tensor([1.0, weight]))


def bound(smoothing: float) -> Callable[[Tensor, Tensor], Tensor]:
    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(outputs, labels, label_smoothing=smoothing)

    return loss


class Own:
    """A criterion as an object."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return self.factor * cross_entropy(outputs, labels)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (network(nn.ReLU()), network(nn.Tanh())),
        (network(nn.Linear(8, 8)), network(nn.Linear(8, 8, bias=False))),
        (network(nn.Dropout(0.1)), network(nn.Dropout(0.2))),
        (network(nn.ReLU()), network(nn.ReLU(), nn.ReLU())),
        (network(Scaled(1.0)), network(Scaled(2.0))),
        (network(Scaled(act=torch.relu)), network(Scaled(act=torch.tanh))),
        (network(Scaled(shift=0.0)), network(Scaled(shift=1.0))),
        (frozen(0.5), frozen(0.25)),
        (frozen(0.5), network()),
        (graph(1), graph(-1)),
        (network(), network().double()),
    ],
)
def test_another_network_is_told(first: SplitModel, second: SplitModel) -> None:
    message = difference(origin(second), origin(first))
    assert "of the network that the run there began with, found others" in message


@pytest.mark.parametrize("make", [network, lambda: frozen(0.5), lambda: graph(1), lambda: network(Scaled())])
def test_the_same_network_is_the_same(make: Callable[[], SplitModel]) -> None:
    check_origin(Path(), origin(make()), origin(make()))


def test_values_that_a_checkpoint_restores_do_not_count() -> None:
    """A script without a seed, or the network that a first session has trained, continues a run as well."""
    check_origin(Path(), origin(network(seed=1)), origin(network(seed=2)))
    trained = network(nn.BatchNorm1d(8))
    before = origin(trained)
    trained.train()
    trained(INPUTS)
    trained.eval()
    check_origin(Path(), origin(trained), before)


@pytest.mark.parametrize(
    ("splits", "told"),
    [
        (replace(SPLITS, train=TensorDataset(INPUTS, 1 - LABELS)), "the labels of the training examples"),
        (replace(SPLITS, train=TensorDataset(INPUTS[:12], LABELS[:12])), "the labels of the training examples"),
        (replace(SPLITS, train=TensorDataset(INPUTS + 1, LABELS)), "the inputs of the training examples"),
        (replace(SPLITS, test=SPLITS.validation), "the number of test examples"),
        (replace(SPLITS, validation=TensorDataset(INPUTS[4:8], LABELS[:4])), "the inputs of the validation examples"),
        (replace(SPLITS, groups=np.arange(24) % 3), "the natural owners of the training examples"),
    ],
)
def test_other_data_are_told(splits: Splits, told: str) -> None:
    assert f"expected {told} that the run there began with, found others" in difference(origin(splits=splits), origin())


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (cross_entropy, nn.CrossEntropyLoss()),
        (nn.CrossEntropyLoss(), nn.CrossEntropyLoss(label_smoothing=0.5)),
        (with_weight(1.0), with_weight(2.0)),
        (bound(0.1), bound(0.2)),
        (functools.partial(cross_entropy, label_smoothing=0.1), functools.partial(cross_entropy, label_smoothing=0.2)),
        (Own(1.0), Own(2.0)),
        (Own(1.0), bound(0.1)),
    ],
)
def test_another_criterion_is_told(first: Any, second: Any) -> None:
    assert "expected the criterion that" in difference(origin(criterion=second), origin(criterion=first))
    check_origin(Path(), origin(criterion=first), origin(criterion=first))


def test_a_setting_is_told_with_both_values() -> None:
    message = difference(origin(seed=1), origin())
    assert "expected seed=0, with which the run there began, found 1" in message


def test_what_an_older_checkpoint_does_not_hold_is_not_compared() -> None:
    check_origin(Path(), {}, origin())


class Noisy(Dataset):
    """Draws from the process's generator, which heron seeds, or from one of its own."""

    def __init__(self, own: np.random.Generator | None = None) -> None:
        self.own = own

    def __len__(self) -> int:
        return 24

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        noise = torch.randn(4) if self.own is None else torch.from_numpy(self.own.normal(size=4)).float()
        return INPUTS[position] + noise, int(LABELS[position])


@pytest.mark.parametrize("own", [None, 0])
def test_data_that_are_drawn_at_random_continue(own: int | None) -> None:
    data = Noisy(None if own is None else np.random.default_rng(own))
    first = origin(splits=replace(SPLITS, train=data))
    torch.manual_seed(123)
    check_origin(Path(), first, origin(splits=replace(SPLITS, train=data)))
