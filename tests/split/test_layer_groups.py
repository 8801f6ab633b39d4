"""Groups of a client's layers, their heads, and refusals of those that do not exist."""

import pytest
import torch
from torch import nn

from heron.errors import SplitError
from heron.split import ClientPart, cut, layer_groups, linear_head, local_head, resnet18, with_local_heads


def client() -> nn.Sequential:
    """Convolution and norm, twice with an activation; two layers without one between; a block."""
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1),
        nn.BatchNorm2d(2),
        nn.ReLU(),
        nn.Sequential(nn.Conv2d(2, 2, 1), nn.Tanh()),
        nn.AvgPool2d(2),
        nn.Conv2d(2, 3, 1),
        nn.Conv2d(3, 3, 1),
        Block(),
        nn.Conv2d(3, 2, 1),
    )


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return (inputs + self.conv(inputs)).relu()


def sizes(groups: list[nn.Sequential]) -> list[int]:
    return [len(group) for group in groups]


def test_a_group_ends_at_an_activation_or_a_block() -> None:
    whole = client()
    groups = layer_groups(whole)
    assert sizes(groups) == [3, 3, 3, 1]
    layers = [*whole[:3], *whole[3], *whole[4:]]
    assert [id(layer) for group in groups for layer in group] == [id(layer) for layer in layers]


@pytest.mark.parametrize(("count", "expected"), [(1, [10]), (2, [6, 4]), (3, [3, 6, 1]), (4, [3, 3, 3, 1])])
def test_their_number_can_be_chosen(count: int, expected: list[int]) -> None:
    assert sizes(layer_groups(client(), count=count)) == expected


@pytest.mark.parametrize(
    ("above", "expected"), [(0, [3, 3, 3, 1]), (1, [3, 3, 3, 1]), (2, [3, 3, 3, 1]), (3, [3, 3, 2, 2])]
)
def test_modules_above_are_the_last_group(above: int, expected: list[int]) -> None:
    assert sizes(layer_groups(client(), above=above)) == expected


def test_groups_of_the_networks_here() -> None:
    narrow = resnet18(width=4, bottleneck_channels=2, bottleneck_stride=4)
    assert sizes(layer_groups(narrow.client)) == [3, 4]  # conv, norm, ReLU; conv, norm, pool, 1x1 conv
    # There is no activation between norm2 and block1.
    assert sizes(layer_groups(resnet18(width=4, cut_layer="block3").client)) == [
        3,
        3,
        1,
        1,
    ]


@pytest.mark.parametrize(
    ("shape", "pool", "features"),
    [((3, 8, 8), 4, 48), ((3, 8, 8), 1, 3), ((3, 2, 6), 4, 24), ((3, 7, 7), 2, 12), ((9, 5), 4, 5), ((6,), 4, 6)],
)
def test_heads_average(shape: tuple[int, ...], pool: int, features: int) -> None:
    head = local_head(shape, 7, pool)
    assert head.fc.in_features == features
    inputs = torch.randn(3, *shape)
    assert head(inputs).shape == (3, 7)
    if len(shape) == 2:
        torch.testing.assert_close(head(inputs), head.fc(inputs.mean(1)))
    if len(shape) == 3:
        sides = [min(pool, side) for side in shape[1:]]
        averaged = nn.functional.adaptive_avg_pool2d(inputs, sides).flatten(1)
        torch.testing.assert_close(head(inputs), head.fc(averaged))


def test_a_convolution_over_time_has_channels_first() -> None:
    part = ClientPart(nn.Sequential(nn.Conv1d(2, 5, 3), nn.ReLU(), nn.Conv1d(5, 4, 3)), linear_head((4, 6), 3))
    heads = with_local_heads(part, torch.zeros(2, 2, 10), seed=0).local_heads
    assert [head.fc.in_features for head in heads] == [5]


class InPlaceFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.conv(inputs.relu_())


def split(layers: nn.Module, head: nn.Module | None = None) -> ClientPart:
    return ClientPart(layers, head)


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        (split(client(), linear_head((2, 2, 2), 3)), {"count": 5}, "client.groups from 1 to 4, .* found 5"),
        (split(client(), linear_head((2, 2, 2), 3)), {"above": 8}, "client.exact below 8, .* found 8"),
        (split(client()), {}, "expected an auxiliary network"),
        (split(client(), nn.Identity()), {}, r"one row of scores .* found shape \(2, 2, 2, 2\)"),
        (
            split(nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), InPlaceFirst()), linear_head((2, 4, 4), 3)),
            {},
            "layer group 2 to leave its input alone",
        ),
    ],
)
def test_refusals_in_one_line(part: ClientPart, changes: dict, message: str) -> None:
    with pytest.raises(SplitError, match=message) as caught:
        with_local_heads(part, torch.randn(2, 1, 4, 4), seed=0, **changes)
    assert "\n" not in str(caught.value)


def test_shared_layers_are_refused() -> None:
    conv = nn.Conv2d(2, 2, 1)
    with pytest.raises(SplitError, match="lower layer groups and the higher ones without common parameters"):
        layer_groups(nn.Sequential(conv, nn.ReLU(), nn.Sequential(conv, nn.ReLU())))


def test_the_network_stays_as_it_is() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 2, 3), nn.Flatten(), nn.Linear(8, 3)
    )
    whole = cut(network, after="3", example=torch.zeros(1, 1, 6, 6), auxiliary=lambda shape: linear_head(shape, 3))
    before = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    equipped = with_local_heads(whole, torch.randn(2, 1, 6, 6), seed=0)
    assert whole.local_heads is None
    assert equipped.client is whole.client
    assert equipped.smashed_shape == whole.smashed_shape
    assert all(torch.equal(tensor, before[name]) for name, tensor in whole.state_dict().items())
    assert equipped.joined_state_dict().keys() == whole.joined_state_dict().keys()
