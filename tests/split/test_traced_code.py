"""Forward code around a cut: permitted and refused."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from heron.errors import SplitError
from heron.split import cut

EXAMPLE = torch.linspace(-1, 1, 12).reshape(3, 4)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.act, self.last = nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)
        self.spare = nn.Linear(4, 4)

    def forward(self, inputs):
        return self.last(self.act(self.act(self.first(inputs))))


def test_a_layer_called_more_than_once_is_refused_as_the_cut_but_not_beside_it():
    with pytest.raises(SplitError, match="'act' to be called once, found 2 calls"):
        cut(Twice(), after="act", example=EXAMPLE)
    assert torch.equal((network := Twice())(EXAMPLE), cut(network, after="first", example=EXAMPLE)(EXAMPLE))


def test_a_layer_that_forward_never_calls_is_refused():
    with pytest.raises(SplitError, match=r"forward to call 'spare', found that it does not; .*: first, act, act, last"):
        cut(Twice(), after="spare", example=EXAMPLE)


def test_a_layer_whose_output_is_thrown_away_is_refused():
    class Lost(Twice):
        def forward(self, inputs):
            weight = self.last.weight
            self.spare(inputs)
            return torch.ones(3, 1) @ weight[:1]

    with pytest.raises(SplitError, match="use the output of 'spare'"):
        cut(Lost(), after="spare", example=EXAMPLE)


def test_weights_called_on_both_sides_are_refused():
    class Tied(Twice):
        def forward(self, inputs):
            return self.last(self.first(self.act(self.first(inputs))))

    with pytest.raises(SplitError, match=r"'first\.weight' and 'first\.weight' to be one tensor"):
        cut(Tied(), after="act", example=EXAMPLE)


class Branching(Twice):
    def forward(self, inputs):
        first = self.first(inputs)
        if first.sum() > 0:
            first = first + 1
        return self.last(self.act(first))


def test_control_flow_around_the_cut_is_refused_with_the_way_out():
    with pytest.raises(
        SplitError, match=r"around 'first' cannot be traced \(TraceError: .*use SplitModel\(client, "
    ) as caught:
        cut(Branching(), after="first", example=EXAMPLE)
    assert "\n" not in str(caught.value)


def test_control_flow_inside_other_submodules_does_not_matter():
    network = nn.ModuleDict({"body": Branching(), "tail": nn.Linear(2, 2)})

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.parts = nn.Linear(4, 4), network

        def forward(self, inputs):
            return self.parts["tail"](self.parts["body"](self.head(inputs)))

    outer = Outer()
    for after in ("head", "parts.body"):
        assert torch.equal(cut(outer, after=after, example=EXAMPLE)(EXAMPLE), outer(EXAMPLE))


class FunctionalDropout(Twice):
    def forward(self, inputs):
        return self.last(F.dropout(self.act(self.first(inputs)), 0.5, training=self.training))


def test_code_that_depends_on_the_mode_is_refused_around_the_cut_and_kept_elsewhere():
    with pytest.raises(SplitError, match=r"depends on self\.training"):
        cut(FunctionalDropout(), after="first", example=EXAMPLE)
    torch.manual_seed(0)  # with some weights no input of the Dropout is above 0
    network = nn.Sequential(nn.Linear(4, 4), FunctionalDropout())
    split = cut(network, after="0", example=EXAMPLE)
    assert torch.equal(split.eval()(EXAMPLE), split(EXAMPLE))
    split.train()
    assert any(not torch.equal(split(EXAMPLE), split(EXAMPLE)) for _ in range(20))


def test_numbers_drawn_while_tracing_do_not_become_constants_silently():
    class Noisy(Twice):
        def forward(self, inputs):
            return self.last(self.act(self.first(inputs)) + torch.randn(4))

    with pytest.raises(SplitError, match="largest difference"):
        cut(Noisy(), after="first", example=EXAMPLE)


def test_a_parameter_read_before_the_cut_and_used_after_it_is_the_servers():
    class Early(Twice):
        def forward(self, inputs):
            weight = self.spare.weight
            return self.last(self.act(self.first(inputs)) @ weight)

    network = Early()
    split = cut(network, after="first", example=EXAMPLE)
    assert [name for name, _ in split.client.named_parameters()] == ["first.weight", "first.bias"]
    assert split.server.get_submodule("spare").weight is network.spare.weight
    assert torch.equal(split(EXAMPLE), network(EXAMPLE))


def test_an_operation_in_place_whose_result_is_not_used_stays_on_its_side():
    class InPlace(Twice):
        def forward(self, inputs):
            first = self.first(inputs)
            first.relu_()
            second = self.spare(first)
            second.mul_(2)
            return self.last(second)

    network = InPlace()
    split = cut(network, after="spare", example=EXAMPLE)
    assert torch.equal(split.client(EXAMPLE), network.spare(network.first(EXAMPLE).relu()))
    assert torch.equal(split(EXAMPLE), network(EXAMPLE))


def test_a_network_with_several_outputs_is_refused():
    class Pair(Twice):
        def forward(self, inputs):
            first = self.first(inputs)
            return self.last(first), first

    with pytest.raises(SplitError, match="network to return one tensor, found tuple"):
        cut(Pair(), after="first", example=EXAMPLE)
