import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from heron.errors import SplitError
from heron.split import build_seeded, check_trainable, has_batchnorm, resnet18

LAYERS = ["conv1", "norm1", "relu1", "conv2", "norm2", *(f"block{number}" for number in range(1, 9))]


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def count(*modules):
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def standard_count(width, num_classes):
    """Parameters of the CIFAR ResNet-18: 3x3 stem, 4 stages of 2 blocks, projection shortcuts, one linear layer."""
    total, before = 9 * 3 * width + 2 * width, width
    for stage in range(4):
        channels = width * 2**stage
        for block in range(2):
            inputs = before if block == 0 else channels
            total += 9 * inputs * channels + 9 * channels * channels + 4 * channels
            if inputs != channels:
                total += inputs * channels + 2 * channels
        before = channels
    return total + (before + 1) * num_classes


@pytest.fixture(scope="module")
def paper():
    return resnet18()


def test_the_papers_cut_has_the_papers_sizes(paper):
    assert paper.smashed_shape == (64, 32, 32)
    assert count(paper.client, paper.server) == standard_count(64, 10) == 11_173_962
    assert count(paper.client) == 9 * 3 * 64 + 9 * 64 * 64 + 4 * 64
    assert count(paper.auxiliary) == (64 * 16 * 16 + 1) * 10
    kinds = [type(layer).__name__ for layer in paper.client]
    assert kinds == ["Conv2d", "BatchNorm2d", "ReLU", "Conv2d", "BatchNorm2d"]
    assert list(dict(paper.client.named_children())) == LAYERS[:5]
    assert list(dict(paper.server.named_children())) == [*LAYERS[5:], "pool", "flatten", "fc"]


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_every_cut_gives_the_same_function_and_can_be_trained(norm):
    inputs = torch.rand(3, 3, 32, 32)
    reference = build_seeded(lambda: resnet18(width=4, norm=norm), 0).eval()
    expected = reference(inputs)
    assert count(reference.client, reference.server) == standard_count(4, 10)
    for cut_layer in [*LAYERS, "pool", "flatten"]:
        split = build_seeded(lambda: resnet18(width=4, norm=norm, cut_layer=cut_layer), 0)  # noqa: B023
        assert torch.equal(split.eval()(inputs), expected)
        assert split.auxiliary(split.client(inputs)).shape == (3, 10)
        check_trainable(split, inputs, micro_batch=None if norm == "batch" else 1)
        assert has_batchnorm(split) == (norm == "batch")


def literal_resnet(split, inputs):
    """The network of the module's docstring, in plain function calls on its parameters."""
    state = split.joined_state_dict()

    def conv(name, x, stride=1):
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    def norm(name, x):
        mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return F.batch_norm(x, mean, variance, state[f"{name}.weight"], state[f"{name}.bias"])

    z = norm("norm2", conv("conv2", norm("norm1", conv("conv1", inputs)).relu()))
    x = (norm("block1.norm", conv("block1.conv", z.relu())) + z).relu()
    for number in range(2, 9):
        block, stride = f"block{number}", 2 if number in (3, 5, 7) else 1
        y = norm(f"{block}.norm1", conv(f"{block}.conv1", x, stride)).relu()
        y = norm(f"{block}.norm2", conv(f"{block}.conv2", y))
        if stride == 2:
            x = norm(f"{block}.shortcut.norm", conv(f"{block}.shortcut.conv", x, 2))
        x = (x + y).relu()
    return x.mean((2, 3)) @ state["fc.weight"].t() + state["fc.bias"]


def test_it_computes_what_its_docstring_says():
    split = build_seeded(lambda: resnet18(width=4), 1)
    inputs = build_seeded(lambda: nn.Linear(3 * 32 * 32, 4), 2).weight.detach().reshape(4, 3, 32, 32) * 50
    for _ in range(3):
        split.train()(inputs)
    split.eval()
    torch.testing.assert_close(split(inputs), literal_resnet(split, inputs), rtol=1e-4, atol=1e-4)


def test_gradients_of_a_first_order_pass_are_those_of_the_literal_network():
    """Operations in place must not disturb backpropagation."""
    split = build_seeded(lambda: resnet18(width=4), 1).double().eval()
    inputs = torch.linspace(-1, 1, 2 * 3 * 32 * 32, dtype=torch.float64).reshape(2, 3, 32, 32)
    parameters = [
        parameter.requires_grad_() for part in (split.client, split.server) for parameter in part.parameters()
    ]
    found = torch.autograd.grad(split(inputs).square().sum(), parameters)
    leaves = dict(split.joined_state_dict())
    named = {**dict(split.client.named_parameters()), **dict(split.server.named_parameters())}
    split.joined_state_dict = lambda: leaves | named
    expected = torch.autograd.grad(literal_resnet(split, inputs).square().sum(), parameters)
    assert len(found) == len(expected) == 62
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


class LiveBytes(TorchDispatchMode):
    """Peak of the bytes of tensors that operations have made and that still exist."""

    def __init__(self):
        super().__init__()
        self.live = self.peak = 0
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor):
                self._watch(tensor.untyped_storage())
        return result

    def _watch(self, storage):
        key, size = storage._cdata, storage.nbytes()
        if key in self.seen:
            return
        self.seen.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key, size):
        self.seen.discard(key)
        self.live -= size


def test_a_clients_forward_pass_holds_at_most_two_maps():
    split = resnet18(width=16)
    inputs = torch.rand(4, 3, 32, 32)
    one_map = 4 * 16 * 32 * 32 * 4
    with torch.no_grad(), LiveBytes() as memory:
        smashed = split.client(inputs)
    assert smashed.nbytes == one_map
    assert 2 * one_map <= memory.peak <= 2.02 * one_map


def test_the_first_activation_is_in_place_unless_it_comes_first_after_the_cut():
    assert resnet18(width=4).client.relu1.inplace
    assert not resnet18(width=4, cut_layer="norm1").server.relu1.inplace


@pytest.mark.parametrize(
    ("cut_layer", "channels", "stride", "shape", "before"),
    [("norm2", 2, 1, (2, 32, 32), 8), ("block4", 4, 2, (4, 8, 8), 16), ("block8", 3, 4, (3, 1, 1), 64)],
)
def test_a_bottleneck_makes_smashed_data_small(cut_layer, channels, stride, shape, before):
    split = resnet18(width=8, cut_layer=cut_layer, bottleneck_channels=channels, bottleneck_stride=stride)
    inputs = torch.rand(2, 3, 32, 32)
    assert split.smashed_shape == shape
    assert [*dict(split.client.named_children())][-2:] == [cut_layer, "narrow"]
    assert next(split.server.named_children())[0] == "widen"
    added = (before + 1) * channels + (channels + 1) * before
    assert count(split.client, split.server) == standard_count(8, 10) + added
    assert split(inputs).shape == (2, 10)
    check_trainable(split, inputs)


@pytest.mark.parametrize("width", [1, 2, 3, 6, 10, 50, 64, 130])
def test_groups_always_divide_the_channels(width):
    from heron.split.resnet18 import _norm

    for multiple in (1, 2, 4, 8):
        norm = _norm("group", width * multiple)
        assert (width * multiple) % norm.num_groups == 0
        assert 1 <= norm.num_groups <= 32
        assert norm.num_groups <= max(1, width * multiple // 4)
    assert _norm("group", 64).num_groups == 16
    assert _norm("group", 512).num_groups == 32


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"width": 0}, "width to be an integer of at least 1, found 0"),
        ({"width": 16.0}, "width to be an integer"),
        ({"norm": "layer"}, "norm to be one of 'batch', 'group', found 'layer'"),
        ({"cut_layer": "norm3"}, "did you mean 'norm2'"),
        ({"cut_layer": "fc"}, "nothing to train"),
        ({"bottleneck_channels": -1}, "bottleneck_channels to be an integer of at least 0"),
        ({"bottleneck_stride": 0}, "bottleneck_stride to be an integer of at least 1"),
        ({"bottleneck_stride": 2}, "bottleneck_stride = 2 has no effect"),
        ({"cut_layer": "flatten", "bottleneck_channels": 2}, "cut_layer with a map for the bottleneck"),
        ({"num_classes": 0}, "num_classes to be an integer"),
    ],
)
def test_bad_arguments_are_refused(arguments, reason):
    with pytest.raises(SplitError, match=reason) as caught:
        resnet18(**{"width": 4} | arguments)
    assert "\n" not in str(caught.value)
