"""Positions of the order boundary in a client, and refusals of those that do not exist."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from heron.errors import SplitError
from heron.split import cut, linear_head, num_client_modules, place_boundary, pooled_linear_head, resnet18


def client() -> nn.Sequential:
    """Trainable: 0, 2, 3, 5."""
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1),
        nn.ReLU(),
        nn.BatchNorm2d(2),
        nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU()),
        nn.Conv2d(2, 3, 1),
        nn.ReLU(),
    )


def ids(part: nn.Sequential) -> list[int]:
    return [id(layer) for layer in part]


@pytest.mark.parametrize(("exact", "below"), [(1, 7), (2, 5), (3, 3), (4, 2)])
def test_layers_without_parameters_go_with_those_under_them(exact: int, below: int) -> None:
    whole, head = client(), linear_head((3, 4, 4), 5)
    layers = [*whole[:3], *whole[3], *whole[4:]]
    boundary = place_boundary(whole, head, exact)
    assert num_client_modules(whole) == 5
    assert ids(boundary.below) == [id(layer) for layer in layers[:below]]
    assert ids(boundary.above) == [id(layer) for layer in layers[below:]]
    head_below = 1 if exact == 1 else 0
    assert ids(boundary.head_below) == [id(layer) for layer in head[:head_below]]
    assert ids(boundary.head_above) == [id(layer) for layer in head[head_below:]]


@pytest.mark.parametrize("exact", [1, 2, 3, 4])
def test_the_parts_compute_what_the_client_does(exact: int) -> None:
    whole, head = client(), pooled_linear_head((3, 4, 4), 5)
    boundary = place_boundary(whole, head, exact)
    inputs = torch.randn(6, 1, 4, 4)
    smashed = boundary.above(boundary.below(inputs))
    assert torch.equal(smashed, whole(inputs))
    assert torch.equal(boundary.head_above(boundary.head_below(smashed)), head(smashed))


@pytest.mark.parametrize("exact", [-1, 0, 5, 6, 10**9])
def test_a_boundary_out_of_range_is_refused_in_one_line(exact: int) -> None:
    with pytest.raises(SplitError, match=rf"from 0 to 5, the 4 client layers .* found {exact}$") as caught:
        place_boundary(client(), linear_head((3, 4, 4), 5), exact)
    assert len(str(caught.value).splitlines()) == 1


def test_frozen_layers_do_not_count() -> None:
    whole = client()
    whole[4].requires_grad_(False)
    assert num_client_modules(whole) == 4
    assert len(place_boundary(whole, linear_head((3, 4, 4), 5), 2).below) == 3
    whole[3][0].weight.requires_grad_(False)  # its bias still learns
    assert num_client_modules(whole) == 4


def test_one_layer_used_twice() -> None:
    relu, shared = nn.ReLU(), nn.Conv2d(2, 2, 1)
    whole = nn.Sequential(nn.Conv2d(1, 2, 1), relu, shared, relu, shared, relu)
    head = linear_head((2, 4, 4), 5)
    boundary = place_boundary(whole, head, 3)
    assert ids(boundary.below) == ids(whole[:2])
    assert ids(boundary.above) == [id(layer) for layer in (shared, relu, shared, relu)]
    assert len(place_boundary(whole, head, 1).below) == 6
    with pytest.raises(SplitError, match="client layers below the boundary and those above it"):
        place_boundary(whole, head, 2)


def test_weights_shared_with_the_auxiliary_network_are_refused() -> None:
    shared = nn.Linear(5, 5)
    whole = nn.Sequential(nn.Linear(4, 5), shared, nn.ReLU(), nn.Linear(5, 5))
    with pytest.raises(SplitError, match="client layers below the boundary and the auxiliary network"):
        place_boundary(whole, nn.Sequential(shared), 2)
    assert len(place_boundary(whole, nn.Sequential(shared), 3).below) == 1


class Own(nn.Module):
    """A client that is no nn.Sequential."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.second(torch.relu(self.first(inputs)))


class OwnSequential(nn.Sequential):
    """Has layers in order and does something else with them."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(inputs) + inputs


def traced() -> nn.Module:
    return cut(
        nn.Sequential(Own(), nn.Linear(3, 2)), after="0.second", example=torch.zeros(2, 4), auxiliary=None
    ).client


@pytest.mark.parametrize("make", [Own, lambda: OwnSequential(nn.Linear(4, 4), nn.Linear(4, 4)), traced])
def test_a_client_with_code_of_its_own_is_one_module(make: Callable[[], nn.Module]) -> None:
    whole = make()
    assert num_client_modules(whole) == 2
    boundary = place_boundary(whole, nn.Linear(3, 2), 1)
    assert list(boundary.below.modules())[1] is whole
    assert len(boundary.above) == 0
    with pytest.raises(SplitError, match="from 0 to 2, the 1 client layers"):
        place_boundary(whole, nn.Linear(3, 2), 2)


def test_resnet18_goes_block_by_block() -> None:
    split = resnet18(cut_layer="block2", width=4)
    assert num_client_modules(split.client) == 7  # conv1, norm1, conv2, norm2, block1, block2 and the head
    assert ids(place_boundary(split.client, split.auxiliary, 2).above) == [id(split.client.block2)]
    assert ids(place_boundary(split.client, split.auxiliary, 5).below) == ids(split.client[:3])


@pytest.mark.parametrize("wrap", [lambda head: head, lambda head: nn.Sequential(nn.Flatten(), nn.Dropout(), head)])
def test_the_auxiliary_network_is_one_module(wrap: Callable[[nn.Module], nn.Module]) -> None:
    mlp = nn.Sequential(nn.Flatten(), nn.Linear(48, 6), nn.ReLU(), nn.Linear(6, 5))
    boundary = place_boundary(client(), wrap(mlp), 1)
    assert ids(boundary.head_above) == ids(mlp[1:])
    assert not list(boundary.head_below.parameters())


def test_an_auxiliary_network_that_does_not_learn_cannot_be_all_that_does() -> None:
    head = linear_head((3, 4, 4), 5).requires_grad_(False)
    with pytest.raises(SplitError, match="something to train in the auxiliary network") as caught:
        place_boundary(client(), head, 1)
    assert len(str(caught.value).splitlines()) == 1
    assert len(place_boundary(client(), head, 2).above) == 2
