import pytest
import torch
from torch import nn

from heron.errors import SplitError
from heron.split import SplitModel, check_equivalence


class Plus(nn.Module):
    def __init__(self, amount):
        super().__init__()
        self.amount = amount

    def forward(self, inputs):
        return inputs + self.amount


def split_of(first, second):
    return SplitModel(first, second)


def test_equal_networks_differ_by_zero():
    client, server = nn.Linear(3, 4), nn.Linear(4, 2)
    model = nn.Sequential(client, server)
    assert check_equivalence(model, split_of(client, server), torch.randn(5, 3)) == 0.0


def test_the_largest_difference_is_told_and_measured_against_the_tolerance():
    split = split_of(nn.Identity(), Plus(torch.tensor([0.0, -0.25, 0.125])))
    example = torch.zeros(2, 3)
    with pytest.raises(SplitError, match=r"within 0, found a largest difference of 0\.25"):
        check_equivalence(nn.Identity(), split, example)
    with pytest.raises(SplitError, match=r"within 0\.2"):
        check_equivalence(nn.Identity(), split, example, tolerance=0.2)
    assert check_equivalence(nn.Identity(), split, example, tolerance=0.25) == 0.25


def test_nan_passes_no_tolerance_and_equal_infinities_are_equal():
    example = torch.zeros(1, 2)
    nan = split_of(nn.Identity(), Plus(torch.nan))
    with pytest.raises(SplitError, match="difference of nan"):
        check_equivalence(nn.Identity(), nan, example, tolerance=1e9)
    infinite = Plus(torch.tensor([torch.inf, 1.0]))
    assert check_equivalence(infinite, split_of(nn.Identity(), infinite), example) == 0.0


class First(nn.Module):
    def forward(self, inputs):
        return inputs[0]


def test_another_shape_is_refused():
    with pytest.raises(SplitError, match=r"return shape \(2, 3\) like the uncut one, found \(3,\)"):
        check_equivalence(nn.Identity(), split_of(nn.Identity(), First()), torch.zeros(2, 3))


def test_networks_are_compared_in_evaluation_mode_and_left_as_they_were():
    client, server = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)), nn.Linear(4, 2)
    server.eval()
    before = {name: tensor.clone() for name, tensor in client.state_dict().items()}
    generator = torch.get_rng_state()
    check_equivalence(nn.Sequential(client, server), split_of(client, server), torch.ones(5, 3))
    assert client.training
    assert not server.training
    assert torch.equal(generator, torch.get_rng_state())
    assert all(torch.equal(before[name], tensor) for name, tensor in client.state_dict().items())


def test_a_network_that_draws_in_evaluation_mode_equals_itself():
    class Noise(nn.Module):
        def forward(self, inputs):
            return inputs + torch.randn_like(inputs)

    assert check_equivalence(Noise(), split_of(nn.Identity(), Noise()), torch.zeros(2, 3)) == 0.0


def test_an_example_changed_in_place_is_not_changed_for_the_other():
    example = torch.full((2, 3), -1.0)
    in_place = nn.Sequential(nn.ReLU(inplace=True), Plus(1.0))
    assert check_equivalence(in_place, split_of(*in_place), example) == 0.0
    assert torch.equal(example, torch.full((2, 3), -1.0))


def test_a_network_that_does_not_run_is_refused():
    with pytest.raises(SplitError, match="uncut network to run on float32"):
        check_equivalence(nn.Linear(4, 2), split_of(nn.Identity(), nn.Identity()), torch.zeros(2, 3))
