"""A network that was lent to training is its owner's again: storage, modes, flags, gradients, buffers."""

import io
from collections.abc import Callable
from contextlib import suppress

import pytest
import torch
from safetensors.torch import save
from torch import nn

from heron.errors import SplitError
from heron.split import lent
from heron.zo import SGD, ZerothOrder


def network() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 2))
    net[0].weight.data = net[0].weight.data.to(memory_format=torch.channels_last)
    net[1].eval()
    net[3].bias.requires_grad_(False)
    net(torch.randn(3, 1, 8, 8)).sum().backward()
    return net


def snapshot(net: nn.Module) -> list[object]:
    parameters = list(net.parameters())
    return [
        [module.training for module in net.modules()],
        [id(parameter) for parameter in parameters],
        [parameter.requires_grad for parameter in parameters],
        [None if parameter.grad is None else parameter.grad.tolist() for parameter in parameters],
        [parameter.stride() for parameter in parameters],
        [parameter.untyped_storage().nbytes() for parameter in parameters],
        [id(buffer) for buffer in net.buffers()],
        [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in net.modules()],
    ]


def use(net: nn.Module) -> None:
    """What a training may do to a network."""
    assert all(parameter.grad is None for parameter in net.parameters())
    net.train()
    with suppress(SplitError):
        ZerothOrder(net, rule=SGD(0.1)).step(lambda: net(torch.ones(2, 1, 8, 8)).square().mean())
    net[1].running_mean = torch.ones(4)
    net.requires_grad_(False)
    net[0].weight.grad = torch.ones_like(net[0].weight)


def fail(net: nn.Module) -> None:
    use(net)
    raise KeyboardInterrupt


@pytest.mark.parametrize("work", [use, fail])
def test_everything_but_values_is_as_it_was(work: Callable[[nn.Module], None]) -> None:
    net = network()
    before, value = snapshot(net), net[3].weight.detach().clone()
    with suppress(KeyboardInterrupt), lent(net):
        work(net)
    assert snapshot(net) == before
    assert not torch.equal(net[3].weight, value)  # it has learned
    assert torch.equal(net[1].running_mean, torch.ones(4))
    assert len(save(net.state_dict())) < 6000  # refused where tensors share storage
    file = io.BytesIO()
    torch.save(net[3].state_dict(), file)
    assert len(file.getvalue()) < 4 * 4 * 36 * 2 + 3000


def test_parameters_that_did_not_move_are_not_copied() -> None:
    net = network()
    addresses = [parameter.data_ptr() for parameter in net.parameters()]
    with lent(net):
        pass
    assert [parameter.data_ptr() for parameter in net.parameters()] == addresses


def test_a_network_is_lent_to_one_training_at_a_time() -> None:
    net = network()
    with lent(net), pytest.raises(SplitError, match="another training has not finished"), lent(net[0]):
        pass
    with lent(net[0]), lent(net[3]):
        pass


def test_frozen_parameters_may_be_shared() -> None:
    frozen = nn.Linear(2, 2).requires_grad_(False)
    with lent(nn.Sequential(frozen, nn.Linear(2, 2))), lent(nn.Sequential(frozen, nn.Linear(2, 2))):
        pass
