"""The runtime in PyTorch: its passes agree with each other, and per-example losses with their mean."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from heron.client.runtime import Orders
from heron.client.torch_runtime.runtime import TorchRuntime
from heron.data import Batch
from heron.errors import ConfigError
from heron.split import SplitModel, linear_head
from heron.wire.groups import Client


def split_model(dropout: float = 0.0) -> SplitModel:
    torch.manual_seed(0)
    client = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.GroupNorm(1, 3), nn.ReLU(), nn.Dropout(dropout))
    return SplitModel(client, nn.Sequential(nn.Flatten(), nn.Linear(48, 5)), linear_head((3, 4, 4), 5))


def runtime(split: SplitModel, criterion=cross_entropy, orders: Orders | None = None, **options) -> TorchRuntime:
    chosen = orders or Orders(probes=True)
    return TorchRuntime(split, criterion, head="auxiliary", orders=chosen, client=Client(**options))


def batch(size: int = 6) -> Batch:
    generator = torch.Generator().manual_seed(1)
    return Batch(torch.randn(size, 1, 4, 4, generator=generator), torch.randint(0, 5, (size,), generator=generator))


@pytest.mark.parametrize("micro_batch", [0, 2, 4])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_mean_of_the_losses_is_the_loss(micro_batch: int, dropout: float) -> None:
    client, examples = runtime(split_model(dropout), micro_batch=micro_batch), batch()
    losses = client.losses(examples, seed=3)
    assert losses.shape == (6,)
    assert not losses.requires_grad
    torch.testing.assert_close(losses.mean(), client.loss(examples, seed=3).detach(), rtol=1e-6, atol=1e-6)
    smashed, clean_loss = client.clean(examples, seed=3)
    assert torch.equal(smashed, client.smash(examples, seed=3))
    assert torch.equal(clean_loss, client.loss(examples, seed=3))


def test_losses_of_several_numbers_an_example_are_averaged() -> None:
    split = split_model()
    client = runtime(split, mse_loss)
    examples = Batch(batch().inputs, torch.randn(6, 5))
    torch.testing.assert_close(client.losses(examples, 0).mean(), client.loss(examples, 0).detach())


def test_a_criterion_of_a_mean_alone_trains_and_has_no_losses_of_examples() -> None:
    def halved(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return cross_entropy(outputs, labels) / 2

    client = runtime(split_model(), halved)
    assert client.loss(batch(), 0).isfinite()
    with pytest.raises(ConfigError, match=r"expected a criterion with a parameter reduction .* found halved"):
        client.losses(batch(), 0)


def test_losses_are_those_of_the_perturbed_parameters() -> None:
    client, examples = runtime(split_model()), batch()
    assert client.theta is not None
    clean = client.losses(examples, 0)
    with client.theta.perturbed(5, 0.1):
        assert not torch.equal(client.losses(examples, 0), clean)
    assert torch.equal(client.losses(examples, 0), clean)


@pytest.mark.parametrize(
    ("orders", "probed", "exact"),
    [
        (Orders(), 0, 0),
        (Orders(probes=True), 6, 0),
        (Orders("all"), 0, 6),
        (Orders("all", head=False), 0, 4),
        (Orders(1, probes=True), 4, 2),
        (Orders(2, probes=True), 2, 4),
        (Orders(2), 0, 4),
        (Orders(3, probes=True), 0, 6),
    ],
)
def test_every_parameter_learns_in_its_order(orders: Orders, probed: int, exact: int) -> None:
    client = runtime(split_model(), orders=orders)
    assert (0 if client.theta is None else len(client.theta.named_tensors())) == probed
    assert (0 if client.exact is None else len(client.exact.parameters())) == exact


def test_a_batch_of_numpy_arrays_is_a_batch() -> None:
    client, examples = runtime(split_model()), batch()
    arrays = Batch(examples.inputs.numpy(), examples.labels.numpy())
    assert torch.equal(client.smash(arrays, 0), client.smash(examples, 0))
