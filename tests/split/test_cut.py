"""Cutting an nn.Sequential, and the refusals that all networks share."""

import copy
from collections import OrderedDict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from heron.errors import SplitError
from heron.split import SplitModel, cut, linear_head

EXAMPLE = torch.linspace(-1, 1, 12).reshape(3, 4)


def three_layers():
    return nn.Sequential(OrderedDict(first=nn.Linear(4, 6), act=nn.ReLU(), second=nn.Linear(6, 2)))


def one_line_of(caught) -> str:
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_parts_hold_the_very_layers_of_the_network_under_their_names():
    network = three_layers()
    split = cut(network, after="act", example=EXAMPLE)
    assert list(dict(split.client.named_children())) == ["first", "act"]
    assert list(dict(split.server.named_children())) == ["second"]
    assert split.client.get_submodule("first") is network.first
    assert split.server.get_submodule("second").weight is network.second.weight
    assert split.smashed_shape == torch.Size([6])
    assert torch.equal(split(EXAMPLE), network(EXAMPLE))
    assert len(network) == 3


def test_names_of_unnamed_layers_stay_too():
    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    split = cut(network, after="0", example=EXAMPLE)
    assert split.joined_state_dict().keys() == network.state_dict().keys()


def test_cut_inside_nested_sequentials():
    network = nn.Sequential(
        OrderedDict(
            stem=nn.Linear(4, 5),
            body=nn.Sequential(nn.Tanh(), nn.Sequential(nn.Linear(5, 7), nn.ReLU()), nn.Linear(7, 3)),
            head=nn.Linear(3, 2),
        )
    )
    split = cut(network, after="body.1.0", example=EXAMPLE)
    assert [name for name, _ in split.client.named_modules() if name] == [
        "stem",
        "body",
        "body.0",
        "body.1",
        "body.1.0",
    ]
    assert [name for name, _ in split.server.named_modules() if name] == [
        "body",
        "body.1",
        "body.1.1",
        "body.2",
        "head",
    ]
    assert torch.equal(split(EXAMPLE), network(EXAMPLE))
    assert split.joined_state_dict().keys() == network.state_dict().keys()


def test_cut_after_a_whole_nested_sequential_or_its_last_child_leaves_no_empty_container():
    network = nn.Sequential(nn.Sequential(nn.Linear(4, 5), nn.ReLU()), nn.Linear(5, 2))
    for after in ("0", "0.1"):
        assert list(dict(cut(network, after=after, example=EXAMPLE).server.named_children())) == ["1"]


def test_a_layer_used_twice_without_parameters_may_be_on_both_sides():
    activation = nn.ReLU()
    network = nn.Sequential(nn.Linear(4, 4), activation, nn.Linear(4, 4), activation, nn.Linear(4, 2))
    split = cut(network, after="1", example=EXAMPLE)
    assert list(dict(split.server.named_modules(remove_duplicate=False))) == ["", "2", "3", "4"]
    assert torch.equal(split(EXAMPLE), network(EXAMPLE))


def test_auxiliary_is_a_module_or_made_from_the_shape_of_one_example():
    head = nn.Linear(6, 2)
    assert cut(three_layers(), after="act", example=EXAMPLE, auxiliary=head).auxiliary is head
    shapes = []

    def build(shape):
        shapes.append(shape)
        return linear_head(shape, 2)

    split = cut(
        nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(12, 2)),
        "0",
        example=torch.zeros(7, 1, 4, 4),
        auxiliary=build,
    )
    assert shapes == [torch.Size([3, 2, 2])]
    assert split.auxiliary is not None
    assert split.auxiliary(split.client(torch.zeros(7, 1, 4, 4))).shape == (7, 2)


def test_a_cut_leaves_network_and_generator_as_they_were():
    network = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 2))
    network[1].eval()
    network[3].bias.requires_grad_(False)
    before = copy.deepcopy(network.state_dict())
    generator = torch.get_rng_state()
    split = cut(network, after="1", example=EXAMPLE)
    assert torch.equal(generator, torch.get_rng_state())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert [module.training for module in network.modules()] == [True, True, False, True, True]
    assert [module.training for module in split.client.modules()] == [True, True, False]
    assert [parameter.requires_grad for parameter in network.parameters()] == [True, True, True, True, True, False]


def test_modes_of_an_evaluating_network_are_kept():
    split = cut(three_layers().eval(), after="act", example=EXAMPLE)
    assert not any(module.training for module in split.modules())


def test_training_the_parts_trains_the_network():
    network = three_layers()
    split = cut(network, after="act", example=EXAMPLE)
    with torch.no_grad():
        for parameter in split.parameters():
            parameter += 1
    assert torch.equal(split(EXAMPLE), network(EXAMPLE))


@pytest.mark.parametrize(("wrong", "near"), [("frist", "first"), ("secnd", "second"), ("act.", "act")])
def test_a_layer_that_does_not_exist_is_refused_with_its_neighbours(wrong, near):
    with pytest.raises(SplitError, match=f"found '{wrong}'; did you mean .*'{near}'") as caught:
        cut(three_layers(), after=wrong, example=EXAMPLE)
    one_line_of(caught)


def test_a_name_like_no_other_and_the_empty_name_are_refused_with_the_first_layers():
    for wrong in ("zzzzzzzz", ""):
        with pytest.raises(SplitError, match="'first' or 'act' or 'second'"):
            cut(three_layers(), after=wrong, example=EXAMPLE)


def test_a_network_without_layers_is_refused():
    with pytest.raises(SplitError, match="Linear without any"):
        cut(nn.Linear(4, 2), after="weight", example=EXAMPLE)


@pytest.mark.parametrize("after", ["second", "act2", "end"])
def test_a_server_with_nothing_to_train_is_refused(after):
    network = nn.Sequential(OrderedDict(three_layers().named_children(), act2=nn.ReLU(), end=nn.Identity()))
    with pytest.raises(SplitError, match="nothing to train; cut after an earlier layer"):
        cut(network, after=after, example=EXAMPLE)


def test_a_frozen_server_counts_as_nothing_to_train():
    network = three_layers()
    network.second.requires_grad_(False)
    with pytest.raises(SplitError, match="nothing to train"):
        cut(network, after="act", example=EXAMPLE)


@pytest.mark.parametrize("tie", ["object", "memory", "buffer"])
def test_a_tensor_on_both_sides_is_refused(tie):
    network = nn.Sequential(OrderedDict(first=nn.Linear(4, 4), norm1=nn.BatchNorm1d(4), second=nn.Linear(4, 4)))
    network.add_module("norm2", nn.BatchNorm1d(4))
    if tie == "object":
        network.second.weight = network.first.weight
    elif tie == "memory":
        network.second.weight.data = network.first.weight.data
    else:
        network.norm2.running_mean = network.norm1.running_mean
    names = "'norm1.running_mean' and 'norm2.running_mean'" if tie == "buffer" else "'first.weight' and 'second.weight'"
    with pytest.raises(SplitError, match=f"{names} to be one tensor") as caught:
        cut(network, after="norm1", example=EXAMPLE)
    one_line_of(caught)


def test_an_example_that_does_not_run_is_refused():
    with pytest.raises(SplitError, match=r"network to run on float32 of shape \(3, 5\), found RuntimeError") as caught:
        cut(three_layers(), after="act", example=torch.zeros(3, 5))
    one_line_of(caught)


@pytest.mark.parametrize("example", [torch.zeros(0, 4), torch.tensor(1.0), [1.0, 2.0]])
def test_an_example_that_is_no_batch_is_refused(example):
    with pytest.raises(SplitError, match="expected an example batch"):
        cut(three_layers(), after="act", example=example)


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_an_uninitialised_layer_is_refused():
    network = nn.Sequential(nn.Linear(4, 6), nn.LazyLinear(3))
    with pytest.raises(SplitError, match=r"lazy '1\.weight'; run the network once"):
        cut(network, after="0", example=EXAMPLE)


def test_smashed_data_without_the_batch_first_is_refused():
    class Transpose(nn.Module):
        def forward(self, inputs):
            return inputs.t()

    network = nn.Sequential(nn.Linear(4, 6), Transpose(), nn.Linear(3, 2))
    with pytest.raises(SplitError, match=r"found \(6, 3\) for 3 examples"):
        cut(network, after="1", example=EXAMPLE)
    with pytest.raises(SplitError, match=r"found \(3,\) for 3 examples"):
        cut(nn.Sequential(nn.Linear(4, 1), nn.Flatten(0), nn.Linear(3, 2)), after="1", example=EXAMPLE)


def test_a_layer_with_several_outputs_is_refused_at_the_cut():
    class Last(nn.Module):
        def forward(self, outputs):
            return outputs[0]

    network = nn.Sequential(nn.LSTM(4, 5, batch_first=True), Last(), nn.Linear(5, 2))
    with pytest.raises(SplitError, match="client part to return one tensor, found tuple"):
        cut(network, after="0", example=torch.zeros(3, 7, 4))
    assert cut(network, after="1", example=torch.zeros(3, 7, 4)).smashed_shape == (7, 5)


def test_an_auxiliary_function_that_makes_no_module_is_refused():
    with pytest.raises(SplitError, match=r"auxiliary function to return an nn\.Module, found int"):
        cut(three_layers(), after="act", example=EXAMPLE, auxiliary=lambda shape: shape.numel())


# Blocks of (4 features -> 4 features) in a random tree: the reference is the flat list of layers itself.
leaves = st.sampled_from(["linear", "relu", "tanh", "norm", "identity"])
trees = st.recursive(leaves, lambda children: st.lists(children, min_size=1, max_size=4), max_leaves=10)


def build(tree) -> nn.Module:
    if isinstance(tree, list):
        return nn.Sequential(*map(build, tree))
    kinds = {"relu": nn.ReLU, "tanh": nn.Tanh, "identity": nn.Identity}
    return nn.Linear(4, 4) if tree == "linear" else nn.BatchNorm1d(4) if tree == "norm" else kinds[tree]()


@settings(max_examples=40, deadline=None)
@given(trees=st.lists(trees, min_size=1, max_size=4), data=st.data())
def test_any_sequential_is_cut_anywhere(trees, data):
    torch.manual_seed(0)
    network = nn.Sequential(*map(build, trees), nn.Linear(4, 2)).eval()
    places = [name for name, _ in network.named_modules() if name]
    after = data.draw(st.sampled_from(places[:-1]))
    # All leaves in order; those up to the cut are the leaves whose name is not after `after` in the order of layers.
    flat = [(name, module) for name, module in network.named_modules() if not isinstance(module, nn.Sequential)]
    last = max(index for index, (name, _) in enumerate(flat) if name == after or name.startswith(f"{after}."))
    smashed = EXAMPLE
    for _, layer in flat[: last + 1]:
        smashed = layer(smashed)
    outputs = smashed
    for _, layer in flat[last + 1 :]:
        outputs = layer(outputs)
    split = cut(network, after=after, example=EXAMPLE)
    assert isinstance(split, SplitModel)
    assert torch.equal(split.client(EXAMPLE), smashed)
    assert torch.equal(split.server(smashed), outputs)
    assert torch.equal(split(EXAMPLE), network(EXAMPLE))
    assert split.joined_state_dict().keys() == network.state_dict().keys()
    found = [id(module) for part in (split.client, split.server) for module in part.modules()]
    assert [identity for identity in found if identity in {id(layer) for _, layer in flat}] == [id(m) for _, m in flat]
