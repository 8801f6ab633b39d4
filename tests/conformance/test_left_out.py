"""Labels that do not count have no part in any algorithm: the same result as without their examples."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

from heron.algorithms import ALGORITHMS
from heron.data import IGNORED
from heron.engines.in_process import Federation
from heron.split import SplitModel, linear_head
from heron.wire.groups import Client, Settings
from tests.settings import changed

INPUTS = torch.randn(24, 6, generator=torch.Generator().manual_seed(0))
CLASSES = (INPUTS.sum(1) > 0).long()
VARIANTS = [*((name, {}) for name in ALGORITHMS), *(("heron", {"exact": exact}) for exact in (1, 2, "all"))]
CRITERIA = [cross_entropy, nn.CrossEntropyLoss(weight=torch.tensor([1.0, 4.0]))]


def trained(name: str, labels: torch.Tensor, criterion=cross_entropy, **changes) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    client = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4))
    split = SplitModel(client, nn.Sequential(nn.Tanh(), nn.Linear(4, 2)), linear_head((4,), 2))
    # One batch: its order does not matter, only which examples are in it.
    own = {"optimizer": "sgd", "learning_rate": 0.1}
    settings = changed(Settings(client=Client(batch_size=len(labels))), **own, **changes)
    data, share = TensorDataset(INPUTS[: len(labels)], labels), [np.arange(len(labels))]
    parties = Federation(split, ALGORITHMS[name], data, share, settings, criterion)
    result = parties.run_round()
    tensors = parties.load_global_model().state_dict()
    return {**tensors, "client loss": torch.tensor(result.client_loss), "server loss": torch.tensor(result.server_loss)}


def assert_close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], what: float = 2e-4) -> None:
    for name, tensor in expected.items():
        torch.testing.assert_close(
            found[name], tensor, rtol=what, atol=what, equal_nan=True, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize(("name", "changes"), VARIANTS)
def test_examples_without_a_label_are_as_good_as_absent(name, changes, criterion) -> None:
    labels = torch.cat([CLASSES[:16], torch.full((8,), IGNORED)])
    assert_close(trained(name, labels, criterion, **changes), trained(name, CLASSES[:16], criterion, **changes))


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize(("name", "changes"), VARIANTS)
def test_micro_batches_change_nothing(name, changes, criterion) -> None:
    """Of pieces of two, in random order, some have one label that counts, or none."""
    labels = torch.where(torch.arange(24) % 3 == 0, CLASSES, IGNORED)
    whole = trained(name, labels, criterion, **changes)
    assert_close(trained(name, labels, criterion, micro_batch=2, **changes), whole)


@pytest.mark.parametrize("micro_batch", [0, 2])
@pytest.mark.parametrize(("name", "changes"), VARIANTS)
def test_a_batch_in_which_nothing_counts_teaches_nothing(name, changes, micro_batch) -> None:
    nothing = torch.full((24,), IGNORED)
    found = trained(name, nothing, micro_batch=micro_batch, **changes)
    torch.manual_seed(0)
    client = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4))
    for parameter, tensor in client.named_parameters():
        assert torch.equal(found[f"client.{parameter}"], tensor)
    assert all(float(found[loss].nan_to_num()) == 0 for loss in ("client loss", "server loss"))
