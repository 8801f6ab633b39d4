"""Clients that learn by backpropagation: checkpointing, micro-batches, and what they keep alive."""

import gc
import weakref

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from heron.algorithms import ALGORITHMS
from heron.engines.in_process import Federation
from heron.engines.profile import profile_client
from heron.errors import SplitError
from heron.split import SplitModel, linear_head
from heron.wire import SmashedData
from heron.wire.groups import Client, Settings
from tests.settings import changed
from tests.tiers import rows

FIRST_ORDER = ("cse_fsl", "fsl_sage", "sflv1", "sflv2", "fedavg")
EXAMPLES = 24


class Residual(nn.Module):
    """Layers with a shortcut around them."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.layers(inputs) + inputs


class OneByOne(nn.Module):
    """A client that is no nn.Sequential."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            inputs = layer(inputs)
        return inputs


def client_layers(norm: type[nn.Module], depth: int = 2, width: int = 3) -> list[nn.Module]:
    def normalise() -> nn.Module:
        return nn.BatchNorm2d(width) if norm is nn.BatchNorm2d else nn.GroupNorm(1, width)

    blocks = [
        [nn.Conv2d(width if block else 1, width, 3, padding=1), normalise(), nn.ReLU(inplace=True)]
        for block in range(depth)
    ]
    return [layer for block in blocks for layer in block]


def split_model(norm: type[nn.Module] = nn.BatchNorm2d, *, dropout: float = 0.0, residual: bool = False) -> SplitModel:
    torch.manual_seed(0)
    layers = [*client_layers(norm), nn.Dropout(dropout), nn.Conv2d(3, 3, 1)]
    client = OneByOne(*layers[:3], Residual(*layers[3:])) if residual else nn.Sequential(*layers)
    server_norm = nn.BatchNorm2d(2) if norm is nn.BatchNorm2d else nn.GroupNorm(1, 2)
    server = nn.Sequential(nn.Conv2d(3, 2, 1), server_norm, nn.ReLU(), nn.Flatten(), nn.Linear(32, 5))
    return SplitModel(client, server, linear_head((3, 4, 4), 5))


def federation(name: str, split: SplitModel, **changes) -> Federation:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(EXAMPLES, 1, 4, 4, generator=generator)
    dataset = TensorDataset(inputs, torch.randint(0, 5, (EXAMPLES,), generator=generator))
    settings = changed(Settings(client=Client(batch_size=10, learning_rate=1e-2)), **changes)
    return Federation(split, ALGORITHMS[name], dataset, np.split(np.arange(EXAMPLES), [10]), settings)


def tensors_after(parties: Federation, rounds: int = 2) -> dict[str, torch.Tensor]:
    for _ in range(rounds):
        parties.run_round()
    return {name: tensor.clone() for name, tensor in parties.state()[0].items()}


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("name", FIRST_ORDER)
def test_checkpointing_changes_no_bit(name: str, residual: bool) -> None:
    """Parameters, running statistics and counters: the recomputed pass touches none, and draws the same masks."""
    plain, checkpointed = (
        tensors_after(federation(name, split_model(dropout=0.3, residual=residual), checkpointing=checkpointing))
        for checkpointing in (False, True)
    )
    assert plain.keys() == checkpointed.keys()
    for key, tensor in plain.items():
        assert torch.equal(checkpointed[key], tensor), key
    assert any("num_batches_tracked" in key for key in plain)


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_checkpointing_saves_memory_for_one_more_forward(name: str) -> None:
    def cost(*, checkpointing: bool):
        torch.manual_seed(0)
        client = nn.Sequential(*client_layers(nn.BatchNorm2d, depth=9, width=8), nn.Conv2d(8, 3, 1))
        server = nn.Sequential(nn.Flatten(), nn.Linear(48, 5))
        split = SplitModel(client, server, linear_head((3, 4, 4), 5))
        return profile_client(federation(name, split, checkpointing=checkpointing, batch_size=256), repeats=1)

    plain, checkpointed = cost(checkpointing=False), cost(checkpointing=True)
    assert checkpointed.peak_memory_bytes < 0.75 * plain.peak_memory_bytes
    assert 1.2 < checkpointed.flops_per_step / plain.flops_per_step < 1.34  # 4 forwards' worth instead of 3


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_micro_batches_change_parameters_by_rounding_only(name: str, checkpointing: bool) -> None:
    # A large smoothing radius: rounding of the loss counts for less in a difference of losses.
    sgd = {"optimizer": "sgd", "estimator": {"mu": 0.1}, "checkpointing": checkpointing}
    whole, pieces = (
        tensors_after(federation(name, split_model(nn.GroupNorm), micro_batch=size, **sgd)) for size in (0, 4)
    )
    for key, tensor in whole.items():
        torch.testing.assert_close(pieces[key], tensor, atol=2e-5, rtol=1e-3)


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_micro_batches_are_refused_with_batchnorm(name: str) -> None:
    with pytest.raises(SplitError, match="BatchNorm"):
        federation(name, split_model(), micro_batch=4)


def test_fedavg_refuses_batchnorm_in_what_others_leave_to_the_server() -> None:
    def only_in_server() -> SplitModel:
        split = split_model(nn.GroupNorm)
        split.server[1] = nn.BatchNorm2d(2)
        return split

    federation("sflv2", only_in_server(), micro_batch=4)
    with pytest.raises(SplitError, match="BatchNorm"):
        federation("fedavg", only_in_server(), micro_batch=4)


@pytest.mark.parametrize("micro_batch", rows([0, 4], [0]))
@pytest.mark.parametrize("name", rows(["sflv1", "sflv2"], {"sflv2"}))
def test_no_smashed_data_is_alive_while_a_split_client_learns(name: str, micro_batch: int) -> None:
    parties = federation(name, split_model(nn.GroupNorm), micro_batch=micro_batch)
    uploads: list[weakref.ref] = []
    answer = parties.main_server.answer

    def watched(upload: SmashedData):
        uploads.append(weakref.ref(upload.smashed.untyped_storage()))
        return answer(upload)

    parties.main_server.answer = watched
    alive = []

    def look(_: Tensor) -> None:
        gc.collect()
        alive.append(uploads[-1]() is not None)

    # The first layer's gradient comes last.
    next(parties.split.client.parameters()).register_post_accumulate_grad_hook(look)
    parties.run_round()
    assert alive
    assert not any(alive)


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_nothing_of_a_step_outlives_it(name: str) -> None:
    parties = federation(name, split_model())
    parties.run_round()
    gc.collect()
    assert all(parameter.grad is None for parameter in parties.runtime.local.module["client"].parameters())
    graphs = [item for item in gc.get_objects() if type(item) is torch.Tensor and item.grad_fn is not None]
    assert graphs == []
