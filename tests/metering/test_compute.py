"""FLOPs in closed form, forward counts, wall time."""

import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.func import functional_call, grad, vmap
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from heron.errors import ConfigError
from heron.metering import count_forwards, measure_flops, measure_seconds

DIMENSION = st.integers(1, 7)


@settings(max_examples=30, deadline=None)
@given(lead=st.lists(DIMENSION, max_size=3), width=DIMENSION, out=DIMENSION, bias=st.booleans())
def test_linear_is_two_per_multiply_add(lead: list[int], width: int, out: int, bias: bool) -> None:
    layer, x = nn.Linear(width, out, bias=bias), torch.zeros(*lead, width)
    rows = x.numel() // width
    assert measure_flops(lambda: layer(x)) == 2 * rows * width * out
    # The weight's gradient is a second product; with the input's gradient it is a third.
    assert measure_flops(lambda: layer(x).sum().backward()) == 4 * rows * width * out
    x.requires_grad_()
    assert measure_flops(lambda: layer(x).sum().backward()) == 6 * rows * width * out


@settings(max_examples=30, deadline=None)
@given(
    batch=DIMENSION,
    channels=st.tuples(DIMENSION, DIMENSION),
    size=st.integers(3, 9),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 2),
)
def test_convolution_is_two_per_multiply_add(
    batch: int, channels: tuple[int, int], size: int, kernel: int, stride: int
) -> None:
    layer = nn.Conv2d(*channels, kernel, stride=stride)
    x = torch.zeros(batch, channels[0], size, size)
    positions = ((size - kernel) // stride + 1) ** 2
    multiply_adds = batch * positions * channels[0] * channels[1] * kernel**2
    assert measure_flops(lambda: layer(x)) == 2 * multiply_adds


@settings(max_examples=30, deadline=None)
@given(
    batch=DIMENSION,
    groups=st.integers(1, 4),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    transposed=st.booleans(),
    learns=st.booleans(),
)
def test_gradients_of_a_grouped_convolution_are_one_product_each(
    batch: int, groups: int, channels: tuple[int, int], transposed: bool, learns: bool
) -> None:
    """As many multiply-adds as the convolution itself, for the weights and for the inputs."""
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    layer = kind(groups * channels[0], groups * channels[1], 3, stride=2, groups=groups)
    x = torch.zeros(batch, groups * channels[0], 7, 7, requires_grad=learns)
    positions = 7**2 if transposed else 3**2
    product = 2 * batch * groups * channels[0] * channels[1] * positions * 3**2
    assert measure_flops(lambda: layer(x)) == product
    assert measure_flops(lambda: layer(x).sum().backward()) == (3 if learns else 2) * product


def test_gradients_of_single_examples_take_the_products_of_one_gradient() -> None:
    """By `torch.func`: convolutions with a group for each example, and one matrix product for each."""
    layer, x = nn.Conv2d(3, 4, 3), torch.zeros(8, 3, 9, 9)
    values = {name: tensor.detach() for name, tensor in layer.named_parameters()}

    def loss_of_one(values: dict[str, torch.Tensor], inputs: torch.Tensor) -> torch.Tensor:
        return functional_call(layer, values, (inputs[None],)).sum()

    each = vmap(grad(loss_of_one), in_dims=(None, 0))
    product = 2 * 8 * 3 * 4 * 7**2 * 3**2
    assert measure_flops(lambda: each(values, x)) == measure_flops(lambda: layer(x).sum().backward()) == 2 * product


def test_fused_attention_on_a_cpu_is_counted() -> None:
    """Forward: scores and their product with the values. Backward: the scores once more and four gradients."""
    batch, heads, tokens, width = 2, 3, 8, 16
    query = torch.zeros(batch, heads, tokens, width, requires_grad=True)
    product = 2 * batch * heads * tokens * tokens * width
    assert measure_flops(lambda: F.scaled_dot_product_attention(query, query, query)) == 2 * product
    assert measure_flops(lambda: F.scaled_dot_product_attention(query, query, query).sum().backward()) == 7 * product


def test_a_recomputed_forward_is_counted() -> None:
    layers, x = nn.Sequential(nn.Linear(4, 4), nn.Tanh()), torch.zeros(2, 4)
    product = 2 * 2 * 4 * 4
    plain = measure_flops(lambda: layers(x).sum().backward())
    recomputed = measure_flops(lambda: checkpoint(layers, x, use_reentrant=False).sum().backward())
    assert (plain, recomputed) == (2 * product, 3 * product)


def of_everything(learns: bool) -> None:
    """Convolutions, attention, matrix products and what has no formula, forward and backward."""
    images = torch.zeros(2, 3, 9, 9, requires_grad=learns)
    tokens = torch.zeros(2, 5, 8, requires_grad=learns)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 6))
    attention = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    loss = layers(images).sum() + attention(tokens).sum() + torch.baddbmm(tokens, tokens, torch.zeros(2, 8, 8)).sum()
    loss = (
        loss
        + F.conv_transpose2d(images, torch.zeros(3, 2, 2, 2)).sum()
        + torch.einsum("bij,bkj->ik", tokens, tokens).sum()
    )
    if learns:
        loss.backward()


@pytest.mark.parametrize("learns", [True, False])
@pytest.mark.parametrize("is_fake", [True, False])
def test_counts_are_those_of_torch(learns: bool, is_fake: bool) -> None:
    with FakeTensorMode() if is_fake else nullcontext():
        with FlopCounterMode(display=False) as reference:
            of_everything(learns)
        assert measure_flops(lambda: of_everything(learns)) == reference.get_total_flops() > 10_000


def test_metering_a_step_does_not_import_the_compiler_of_torch() -> None:
    code = (
        "import sys, torch; from torch import nn; from heron.metering import measure_flops, measure_memory; "
        "layer = nn.Linear(3, 5); x = torch.zeros(2, 3); step = lambda: layer(x).sum().backward(); "
        "assert measure_flops(step) > 0; measure_memory(step, parameters=layer.parameters(), modules=[layer]); "
        "assert not {'torch._dynamo', 'torch._inductor'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_nothing_is_zero_flops() -> None:
    assert measure_flops(lambda: None) == 0


def test_forwards_are_counted_while_the_body_runs() -> None:
    part = nn.Linear(2, 2)
    whole = nn.Sequential(part, nn.ReLU(), part)
    x = torch.zeros(1, 2)
    with count_forwards(whole) as of_whole, count_forwards(part) as of_part:
        whole(x)
        assert (of_whole.count, of_part.count) == (1, 2)
        part(x)
    whole(x)
    assert (of_whole.count, of_part.count) == (1, 3)


def test_forward_hooks_go_away_when_the_body_raises() -> None:
    layer = nn.Linear(2, 2)
    with pytest.raises(RuntimeError), count_forwards(layer) as forwards:
        layer(torch.zeros(1, 3))
    assert forwards.count == 1  # a call that fails is a call
    assert not layer._forward_pre_hooks


def test_seconds_are_the_median_of_the_timed_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    durations = iter([64.0, 4.0, 1.0, 2.0])  # the warm-up, then three runs

    def step() -> None:
        nonlocal now
        now += next(durations)

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    assert measure_seconds(step, repeats=3, warmup=1) == 2.0
    assert next(durations, None) is None


@pytest.mark.parametrize(("repeats", "warmup"), [(0, 1), (-1, 0), (1, -1)])
def test_seconds_refuse_numbers_out_of_range(repeats: int, warmup: int) -> None:
    with pytest.raises(ConfigError, match=f"found {repeats} and {warmup}"):
        measure_seconds(lambda: None, repeats=repeats, warmup=warmup)
