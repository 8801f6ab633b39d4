"""An algorithm that is not listed as a user of a setting computes the same without it, or refuses it."""

from functools import cache
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

pytest.importorskip("griffe", reason="the pages are made with the extra `docs`")

import heron
from heron.algorithms import ALGORITHMS
from heron.errors import HeronError
from heron.split import cut, linear_head
from pages.users import users
from tests.config.test_settings_walk import LEAVES, another

# Where nothing else is computed by definition: how a result is obtained, and what is counted of it.
SAME_FOR_ALL = {"device", "threads", "wire", "evaluation_period", "client.kernel", "client.checkpointing"}
PAIRS = [(key, name) for key in LEAVES for name in ALGORITHMS if name not in users(key) and key not in SAME_FOR_ALL]


def outcome(algorithm: str, **changes: Any) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(24, 6, generator=generator)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
        split = cut(network, after="1", example=inputs[:2], auxiliary=lambda shape: linear_head(shape, num_classes=2))
    data = TensorDataset(inputs, (inputs[:, 0] > 0).long())
    given: dict[str, Any] = {
        "rounds": 2,
        "threads": 1,
        "clients": {"total": 2},
        "client": {"batch_size": 6, "optimizer": ALGORITHMS[algorithm].optimizers[0]},
    }
    for section, value in changes.items():
        given[section] = {**given.get(section, {}), **value} if isinstance(value, dict) else value
    return heron.train(split, data, algorithm=algorithm, **given).model.state_dict()


@cache
def plain(algorithm: str) -> dict[str, torch.Tensor]:
    return outcome(algorithm)


@pytest.mark.filterwarnings("ignore:.* changes nothing")  # which is what this test is about
@pytest.mark.parametrize(("key", "name"), PAIRS)
def test_others_do_not_depend_on_it(key: str, name: str) -> None:
    section, _, last = key.rpartition(".")
    value = another(key)
    try:
        found = outcome(name, **({section: {last: value}} if section else {last: value}))
    except HeronError:
        return
    expected = plain(name)
    assert all(torch.equal(found[tensor], expected[tensor]) for tensor in expected), f"{name} depends on {key}"


def test_some_settings_are_not_everybodys() -> None:
    assert len(PAIRS) > 50
    assert all(users(key) for key in LEAVES)
