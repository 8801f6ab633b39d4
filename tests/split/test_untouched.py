from contextlib import nullcontext

import pytest
import torch
from torch import nn

from heron.split.untouched import same_bits, untouched


class Restless(nn.Module):
    """Changes everything a forward pass can."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, torch.nan, -0.0]))
        self.signed_zero = nn.Parameter(torch.tensor(-0.0))
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)
        self.register_buffer("replaced", torch.arange(3))
        self.register_buffer("written", torch.tensor([True, False]))
        self.norm = nn.BatchNorm1d(3)

    def forward(self, inputs):
        self.weight.data.zero_()
        self.signed_zero.data.abs_()
        self.frozen.requires_grad_(True)
        self.frozen.data = torch.zeros(2)
        self.replaced = self.replaced + 1
        self.written.fill_(True)
        self.norm.train(not self.norm.training)
        return self.norm(inputs) + torch.rand(3)


@pytest.mark.parametrize("raises", [False, True])
def test_everything_is_put_back_also_after_an_error(raises):
    module = Restless()
    module.norm.eval()
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    values = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    generator = torch.get_rng_state()
    expectation = pytest.raises(RuntimeError) if raises else nullcontext()
    with expectation, untouched(module, torch.device("cpu")):
        assert not torch.is_grad_enabled()
        module.train()(torch.ones(2, 3))
        torch.zeros(2).reshape(3 if raises else 2)
    after = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    assert all(after[name] is tensor and same_bits(tensor, values[name]) for name, tensor in tensors.items())
    assert module.weight.requires_grad
    assert not module.frozen.requires_grad
    assert module.training
    assert not module.norm.training
    assert torch.equal(generator, torch.get_rng_state())
    assert torch.is_grad_enabled()


def test_what_was_not_changed_is_not_written():
    module = nn.Linear(2, 2)
    outputs, version = module(torch.ones(1, 2)) ** 2, module.weight._version
    with untouched(module, torch.device("cpu")):
        module(torch.ones(1, 2))
    outputs.sum().backward()
    assert module.weight._version == version


def test_same_bits_knows_nan_and_signed_zero():
    nan, zero = torch.tensor([torch.nan]), torch.tensor([0.0])
    assert same_bits(nan, nan.clone())
    assert not same_bits(zero, -zero)
    assert same_bits(torch.ones(2, 3).t(), torch.ones(3, 2))
    assert same_bits(torch.tensor(1), torch.tensor(1))
