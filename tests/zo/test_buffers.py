"""Buffers come back bit for bit, however the body changed them and however it ended."""

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from heron.zo import preserved_buffers
from tests.reference.problems import bits, conv_net, same_bits, state_bits


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_running_statistics_come_back(error: type[BaseException] | None) -> None:
    net, loss_fn = conv_net()
    loss_fn()
    before, identities = state_bits(net), [id(buffer) for buffer in net.buffers()]
    with pytest.raises(error) if error else nullcontext(), preserved_buffers(net):
        loss_fn()
        assert not same_bits(state_bits(net), before)
        if error:
            raise error
    assert same_bits(state_bits(net), before)
    assert [id(buffer) for buffer in net.buffers()] == identities


def test_nan_and_minus_zero_come_back() -> None:
    module = nn.Module()
    module.register_buffer("odd", torch.tensor([-0.0, torch.nan, torch.inf]))
    before = bits(module.odd)
    with preserved_buffers(module):
        module.odd.zero_()
    assert torch.equal(bits(module.odd), before)


class Counting(nn.Module):
    """Counts its calls by assignment, as modules may: the buffer's name then holds another tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.register_buffer("num_calls", torch.zeros(()))
        self.register_buffer("latest", None)

    def forward(self) -> Tensor:
        self.num_calls = self.num_calls + 1
        self.latest = self.weight.detach().sum()
        return self.weight.sum()


def test_buffers_that_were_assigned_come_back() -> None:
    module = Counting()
    with preserved_buffers(module):
        module()
    assert module.num_calls == 0
    assert module.latest is None
