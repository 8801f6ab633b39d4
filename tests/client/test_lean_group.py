"""Gradients of layer groups by formulas: autograd's to 1e-6, for every form, with less memory."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from heron.client.runtime import Orders
from heron.client.torch_runtime.lean_group import lean_group
from heron.client.torch_runtime.lean_pass import LeanPass
from heron.client.torch_runtime.runtime import TorchRuntime
from heron.data import IGNORED, Batch
from heron.seeds import StepKey
from heron.split import ClientPart, linear_head, local_head
from heron.wire.groups import Client

KEY = StepKey(0, 0, 0, 0)
SIZE, SIDE, CLASSES = 10, 8, 5


def convolution(*more: nn.Module, bias: bool = True, **changes) -> list[nn.Module]:
    return [nn.Conv2d(3, 6, 3, padding=1, bias=bias, **changes), *more]


HALF = (6, 4, 4)
FORMS = {
    "conv, relu": (convolution(nn.ReLU(inplace=True)), local_head((6, 8, 8), CLASSES)),
    "conv, relu, unpooled": (convolution(nn.ReLU()), linear_head((6, 8, 8), CLASSES)),
    "strided and grouped": (convolution(nn.ReLU(), stride=2, groups=3), local_head(HALF, CLASSES, 2)),
    "dilated": ([nn.Conv2d(3, 6, 3, padding=2, dilation=2), nn.ReLU()], local_head((6, 8, 8), CLASSES, 1)),
    "batch norm": (convolution(nn.BatchNorm2d(6), nn.ReLU(inplace=True), bias=False), local_head((6, 8, 8), CLASSES)),
    "batch norm without weights": (
        convolution(nn.BatchNorm2d(6, affine=False, track_running_stats=False), nn.ReLU()),
        local_head((6, 8, 8), CLASSES),
    ),
    "no activation": (convolution(nn.BatchNorm2d(6)), local_head((6, 8, 8), CLASSES, 2)),
    "group norm": (convolution(nn.GroupNorm(2, 6), nn.ReLU()), local_head((6, 8, 8), CLASSES, 2)),
    "bottleneck": (
        convolution(nn.BatchNorm2d(6), nn.AvgPool2d(2), nn.Conv2d(6, 2, 1)),
        local_head((2, 4, 4), CLASSES, 2),
    ),
    "uneven windows": (
        convolution(nn.ReLU(), nn.AvgPool2d(3, stride=2, padding=1), nn.Tanh()),
        linear_head((6, 4, 4), CLASSES),
    ),
    "adaptive pooling": (convolution(nn.ReLU()), local_head((6, 8, 8), CLASSES, 3)),
    "a head of two layers": (
        convolution(nn.ReLU()),
        nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(24, 7), nn.Tanh(), nn.Linear(7, CLASSES)),
    ),
    "dropout": (convolution(nn.ReLU(), nn.Dropout(0.4)), local_head((6, 8, 8), CLASSES)),
    "fully connected": ([nn.Linear(8, 4), nn.ReLU(), nn.Flatten()], linear_head((96,), CLASSES)),
    "frozen bias": (convolution(nn.ReLU()), local_head((6, 8, 8), CLASSES)),
}


def gradients(layers: nn.Module, head: nn.Module, batch: Batch, *, lean: bool, micro_batch: int = 0):
    part = ClientPart(copy.deepcopy(layers), copy.deepcopy(head)).double()
    client = Client(optimizer="sgd", micro_batch=micro_batch)
    runtime = TorchRuntime(part, cross_entropy, head="auxiliary", orders=Orders("all"), client=client, lean=lean)
    assert runtime.exact is not None
    done = runtime.exact.forward(batch, KEY)
    assert isinstance(done, LeanPass) == lean
    smashed = done.take_smashed().clone()
    loss = done.finish().loss
    tensors = {name: parameter.grad for name, parameter in runtime.local.module.named_parameters()}
    return tensors, smashed, loss, dict(runtime.local.buffers())


def batch_of(labels: torch.Tensor | None = None) -> Batch:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(SIZE, 3, SIDE, SIDE, generator=generator, dtype=torch.float64)
    drawn = torch.randint(0, CLASSES, (SIZE,), generator=generator)
    return Batch(inputs, drawn if labels is None else labels)


@pytest.mark.parametrize("micro_batch", [0, 4])
@pytest.mark.parametrize("ignores", [False, True])
@pytest.mark.parametrize("name", FORMS)
def test_gradients_are_autograds(name: str, ignores: bool, micro_batch: int) -> None:
    torch.manual_seed(1)
    layers, head = (copy.deepcopy(each) for each in (nn.Sequential(*FORMS[name][0]), FORMS[name][1]))
    if name == "frozen bias":
        layers[0].bias.requires_grad_(False)
    if micro_batch and any(isinstance(layer, nn.BatchNorm2d | nn.Dropout) for layer in layers):
        pytest.skip("couples or masks the examples of a batch")
    batch = batch_of()
    if ignores:
        batch = Batch(batch.inputs, torch.where(torch.arange(SIZE) % 3 == 0, IGNORED, batch.labels))
    expected, smashed, loss, buffers = gradients(layers, head, batch, lean=False, micro_batch=micro_batch)
    found, own, own_loss, own_buffers = gradients(layers, head, batch, lean=True, micro_batch=micro_batch)
    assert torch.equal(own, smashed)
    torch.testing.assert_close(own_loss, loss)
    assert own_buffers.keys() == buffers.keys()
    assert all(torch.equal(own_buffers[name], buffer) for name, buffer in buffers.items())
    for name, gradient in expected.items():
        if gradient is None:
            assert found[name] is None
        else:
            torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["conv, relu", "batch norm", "bottleneck"])
def test_single_precision_agrees_to_a_millionth(name: str) -> None:
    torch.manual_seed(1)
    layers, head = nn.Sequential(*copy.deepcopy(FORMS[name][0])), copy.deepcopy(FORMS[name][1])
    batch = batch_of()
    expected, *_ = gradients(layers, head, batch, lean=True)
    part = ClientPart(copy.deepcopy(layers), copy.deepcopy(head))
    client = Client(optimizer="sgd")
    runtime = TorchRuntime(part, cross_entropy, head="auxiliary", orders=Orders("all"), client=client, lean=True)
    done = runtime.exact.forward(Batch(batch.inputs.float(), batch.labels), KEY)
    done.take_smashed()
    done.finish()
    for name, parameter in runtime.local.module.named_parameters():
        scale = float(expected[name].abs().max()) + 1e-3
        assert float((parameter.grad - expected[name]).abs().max()) < 1e-6 * scale + 1e-7


class Doubled(nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs * 2


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Conv2d(3, 6, 3, padding="same"), nn.ReLU()],
        [nn.Conv2d(3, 6, 3, padding=1, padding_mode="circular")],
        [Doubled(), nn.Conv2d(3, 6, 3)],
        [nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 6, 3))],
    ],
)
def test_other_forms_are_left_to_autograd(layers: list[nn.Module]) -> None:
    assert lean_group(nn.Sequential(*layers), linear_head((6, 8, 8), CLASSES)) is None


def test_batch_norm_in_evaluation_is_left_to_autograd() -> None:
    layers = nn.Sequential(*copy.deepcopy(FORMS["batch norm"][0]))
    found = lean_group(layers, FORMS["batch norm"][1])
    assert found is not None
    assert found.in_training
    layers[1].eval()
    assert not found.in_training
