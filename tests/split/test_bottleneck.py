"""A bottleneck at the cut of any image model."""

import doctest

import pytest
import torch
from torch import nn

import heron.split.bottleneck
from heron.errors import SplitError
from heron.split import SplitModel, cut, linear_head, resnet18, with_bottleneck


class Residual(nn.Module):
    """Not a sequence: it is cut by its traced graph."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.fc = nn.Linear(6, 4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        first = self.first(inputs)
        return self.fc((self.second(first) + 1.0).mean((2, 3)))


def sequence() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)
    )


def wide(network: nn.Module, after: str) -> SplitModel:
    return cut(network, after, example=torch.zeros(2, 3, 9, 9), auxiliary=lambda shape: linear_head(shape, 4))


@pytest.mark.parametrize(("make", "after"), [(sequence, "1"), (Residual, "first")], ids=["sequence", "traced"])
@pytest.mark.parametrize(("channels", "stride", "shape"), [(2, 1, (2, 9, 9)), (1, 4, (1, 2, 2)), (3, 9, (3, 1, 1))])
def test_any_image_model(make, after: str, channels: int, stride: int, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    before = wide(make(), after)
    narrow = with_bottleneck(before, channels=channels, stride=stride, auxiliary=lambda size: linear_head(size, 4))
    inputs = torch.randn(5, 3, 9, 9)
    narrow.eval()
    smashed = narrow.client(inputs)
    assert smashed.shape == (5, *shape)
    assert tuple(narrow.smashed_shape) == shape
    assert narrow.auxiliary(smashed).shape == (5, 4)
    # By hand: mean of windows, 1x1 convolutions there and back, the old server part.
    windows = nn.functional.avg_pool2d(before.client(inputs), stride)
    conv = narrow.client.narrow[-1] if stride > 1 else narrow.client.narrow
    expected = before.server(narrow.server.widen(conv(windows)))
    torch.testing.assert_close(narrow(inputs), expected)
    own = {id(parameter) for parameter in narrow.parameters()}
    assert all(id(parameter) in own for part in (before.client, before.server) for parameter in part.parameters())


def test_names_of_a_sequence_stay() -> None:
    network = sequence()
    names = set(network.state_dict())
    narrow = with_bottleneck(wide(network, "1"), channels=2)
    assert set(narrow.joined_state_dict()) - names == {
        f"{part}.{name}" for part in ("narrow", "widen") for name in ("weight", "bias")
    }
    assert names < set(narrow.joined_state_dict())
    assert narrow.auxiliary is None
    assert narrow.training
    assert all(module.training for module in narrow.modules())


def test_the_resnet_has_the_same() -> None:
    """The network's option calls this function: the same weights from the same draws."""
    torch.manual_seed(3)
    option = resnet18(width=4, bottleneck_channels=2, bottleneck_stride=4)
    torch.manual_seed(3)
    made = with_bottleneck(resnet18(width=4), channels=2, stride=4)
    for name, tensor in option.client.state_dict().items():
        if not name.startswith("narrow"):
            assert torch.equal(made.client.state_dict()[name], tensor)
    assert made.client.state_dict().keys() == option.client.state_dict().keys()
    assert made.server.state_dict().keys() == option.server.state_dict().keys()
    assert made.smashed_shape == option.smashed_shape


def flattening() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 81, 4))


@pytest.mark.parametrize(
    ("make", "after", "values", "reason"),
    [
        (sequence, "1", {"channels": 0}, "channels to be an integer of at least 1"),
        (sequence, "1", {"channels": 1, "stride": 0}, "stride to be an integer of at least 1"),
        (sequence, "1", {"channels": 1, "stride": 10}, r"at least stride = 10 .* found \(6, 9, 9\)"),
        (sequence, "3", {"channels": 1}, r"found \(6,\)"),
        (flattening, "1", {"channels": 1, "stride": 3}, "server part behind the bottleneck to run"),
    ],
)
def test_what_is_refused(make, after: str, values: dict[str, int], reason: str) -> None:
    with pytest.raises(SplitError, match=reason) as caught:
        with_bottleneck(wide(make(), after), **values)
    assert "\n" not in str(caught.value)


def test_parts_of_unknown_shape_are_refused() -> None:
    parts = SplitModel(nn.Conv2d(3, 6, 3), nn.Sequential(nn.Flatten(), nn.Linear(6, 2)))
    with pytest.raises(SplitError, match="found None"):
        with_bottleneck(parts, channels=1)


def test_the_example_in_the_docstring_runs() -> None:
    with torch.random.fork_rng():
        results = doctest.testmod(heron.split.bottleneck)
    assert (results.failed, results.attempted > 0) == (0, True)
