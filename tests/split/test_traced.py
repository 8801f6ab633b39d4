"""Cutting modules with forward code of their own."""

import copy
import io

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from heron.errors import SplitError
from heron.split import cut

EXAMPLE = torch.linspace(-1, 1, 12).reshape(3, 4)


class Residual(nn.Module):
    """stem -> inner + skip -> norm -> head, with a functional activation and a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(4, 5)
        self.inner = nn.Sequential(nn.Linear(5, 5), nn.ReLU())
        self.scale = nn.Parameter(torch.full((5,), 2.0))
        self.norm = nn.BatchNorm1d(5)
        self.head = nn.Linear(5, 2)

    def forward(self, inputs):
        stem = F.gelu(self.stem(inputs))
        met = self.norm(self.inner(stem) + stem)
        return self.head(met * self.scale)


def names(part):
    return {name for name, module in part.named_modules() if name and not isinstance(module, torch.fx.GraphModule)}


def test_forward_code_is_cut_and_the_parameters_are_the_networks_own():
    network = Residual()
    split = cut(network, after="norm", example=EXAMPLE)
    assert names(split.client) == {"stem", "inner", "inner.0", "inner.1", "norm"}
    assert names(split.server) == {"head"}
    assert split.client.get_submodule("inner") is network.inner
    assert split.server.scale is network.scale
    assert split.smashed_shape == (5,)
    assert split.joined_state_dict().keys() == network.state_dict().keys()
    by_hand = network.norm(network.inner(F.gelu(network.stem(EXAMPLE))) + F.gelu(network.stem(EXAMPLE)))
    network.eval()
    split.eval()
    assert torch.equal(split(EXAMPLE), network(EXAMPLE))
    assert split.client(EXAMPLE).shape == by_hand.shape


def test_code_between_the_layer_and_the_next_belongs_to_the_server():
    network = Residual()
    split = cut(network, after="stem", example=EXAMPLE)
    assert names(split.client) == {"stem"}
    assert torch.equal(split.client(EXAMPLE), network.stem(EXAMPLE))
    assert torch.equal(split.eval()(EXAMPLE), network.eval()(EXAMPLE))


def test_modes_and_gradients_work_on_the_parts():
    network = Residual()
    split = cut(network, after="norm", example=EXAMPLE)
    split.train()
    before = network.norm.running_mean.clone()
    split(EXAMPLE).sum().backward()
    assert not torch.equal(before, network.norm.running_mean)
    assert all(parameter.grad is not None for parameter in network.parameters())
    split.eval()
    assert not network.norm.training


def test_the_parts_can_be_copied_and_saved():
    split = cut(Residual(), after="norm", example=EXAMPLE).eval()
    copied = copy.deepcopy(split)
    file = io.BytesIO()
    torch.save(split, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    for other in (copied, loaded):
        assert torch.equal(other(EXAMPLE), split(EXAMPLE))
        assert other.client.get_submodule("stem") is not split.client.get_submodule("stem")


def test_a_skip_connection_that_crosses_is_named_and_a_better_place_too():
    with pytest.raises(
        SplitError, match=r"its output and 'gelu' .*; cut after the paths have joined, e\.g\. after 'norm'"
    ) as caught:
        cut(Residual(), after="inner", example=EXAMPLE)
    assert "\n" not in str(caught.value)


def test_a_skip_connection_inside_a_block_is_found_by_tracing_the_block():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = Residual()
            self.last = nn.Linear(2, 2)

        def forward(self, inputs):
            return self.last(self.block(inputs))

    assert names(cut(Outer(), after="block", example=EXAMPLE).server) == {"last"}
    split = cut(Outer(), after="block.norm", example=EXAMPLE)
    assert split.server.get_submodule("block.head").out_features == 2
    # After block.inner.1 the skip connection is still open.
    with pytest.raises(SplitError, match=r"more than one tensor.*e\.g\. after 'block\.norm'"):
        cut(Outer(), after="block.inner.0", example=EXAMPLE)


def test_the_input_and_layer_outputs_that_cross_are_named():
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.third = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, inputs):
            first = self.first(inputs)
            return self.third(self.second(first)) + first + inputs

    with pytest.raises(SplitError, match="its output and the network's input, the output of 'first';"):
        cut(Skip(), after="second", example=EXAMPLE)


def test_a_size_that_crosses_is_named():
    class Size(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, inputs):
            batch = inputs.size(0)
            return self.second(self.first(inputs).reshape(batch, 4))

    with pytest.raises(SplitError, match="'size'"):
        cut(Size(), after="first", example=EXAMPLE)


def test_a_layer_inside_a_sequential_inside_a_custom_module():
    network = Residual()
    network.inner = nn.Sequential(nn.Linear(5, 6), nn.Linear(6, 5))
    plain = nn.Sequential(network.stem, nn.Sequential(nn.Linear(5, 6), Residual6()), nn.Linear(2, 2))
    split = cut(plain, after="1.1.stem", example=EXAMPLE)
    assert torch.equal(split.eval()(EXAMPLE), plain.eval()(EXAMPLE))
    assert split.joined_state_dict().keys() == plain.state_dict().keys()


class Residual6(Residual):
    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(6, 5)


class Tables(nn.Module):
    """A saved buffer, an unsaved buffer, a plain tensor and a constant made in forward."""

    def __init__(self):
        super().__init__()
        self.register_buffer("saved", torch.arange(4.0))
        self.register_buffer("unsaved", torch.arange(4.0) + 1, persistent=False)
        self.plain = torch.arange(4.0) + 2
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, inputs, shift=None, *, factor=3.0):
        if shift is not None:
            inputs = inputs + shift
        smashed = self.first(inputs * self.saved)
        return self.last((smashed + self.unsaved) * self.plain * factor + torch.ones(4))


def test_buffers_constants_and_default_arguments():
    network = Tables()
    attributes = set(vars(network))
    split = cut(network, after="first", example=EXAMPLE)
    assert torch.equal(split(EXAMPLE), network(EXAMPLE))
    assert split.joined_state_dict().keys() == network.state_dict().keys()
    assert set(vars(network)) == attributes
    assert split.server.unsaved is network.unsaved
    # Constants follow the module, e.g. to another dtype.
    assert split.double()(EXAMPLE.double()).dtype == torch.float64


def test_a_sequential_with_forward_code_of_its_own_is_traced():
    class Shifted(nn.Sequential):
        def forward(self, inputs):
            return super().forward(inputs) + 1

    network = Shifted(nn.Linear(4, 4), nn.Linear(4, 2))
    assert torch.equal(cut(network, after="0", example=EXAMPLE)(EXAMPLE), network(EXAMPLE))


def test_tracing_leaves_modes_and_generator_as_they_were():
    network = Residual()
    network.norm.eval()
    generator = torch.get_rng_state()
    split = cut(network, after="norm", example=EXAMPLE)
    assert torch.equal(generator, torch.get_rng_state())
    assert network.training
    assert network.stem.training
    assert not network.norm.training
    assert split.client.training
    network.eval()
    assert not cut(network, after="norm", example=EXAMPLE).server.training
