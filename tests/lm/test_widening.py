"""Layers of 8 and 16 bits: rounding, products and their derivatives, what is kept, copied, saved and given back."""

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd import forward_ad

pytest.importorskip("transformers", reason="language models come from transformers")
pytest.importorskip("peft", reason="LoRA comes from peft")

from safetensors.torch import load, save
from transformers.pytorch_utils import Conv1D

from heron.errors import SplitError
from heron.lm import Adaptation, causal_lm
from heron.lm.rounding import rounded_to_int8
from heron.lm.widening import store_narrow_, store_wide_
from heron.metering import measure_memory
from tests.lm.models import WIDTH, uncut

INPUTS, OUTPUTS = 12, 7
SMALLEST_NORMAL = torch.finfo(torch.float32).tiny


def linear() -> nn.Linear:
    return nn.Linear(INPUTS, OUTPUTS)


def without_bias() -> nn.Linear:
    return nn.Linear(INPUTS, OUTPUTS, bias=False)


def conv1d() -> Conv1D:
    layer = Conv1D(OUTPUTS, INPUTS)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    return layer


KINDS = pytest.mark.parametrize("make", [linear, without_bias, conv1d])
DTYPES = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.int8], ids=["bfloat16", "int8"])


def narrow_and_wide(make, dtype: torch.dtype) -> tuple[nn.Module, nn.Module]:
    """A narrow layer, and the plain one whose float32 weights are what the narrow ones stand for."""
    torch.manual_seed(0)
    narrow = make().requires_grad_(False)
    store_narrow_(narrow, dtype)
    wide = make().requires_grad_(False)
    wide.load_state_dict({key: tensor for key, tensor in narrow.state_dict().items() if key != "scale"})
    if dtype == torch.int8:
        scale = narrow.scale if isinstance(wide, Conv1D) else narrow.scale[:, None]
        wide.weight.copy_(narrow.weight.float() * scale)
    return narrow, wide


def rows() -> Tensor:
    return torch.randn(2, 5, INPUTS, generator=torch.Generator().manual_seed(1))


@given(st.integers(0, 2**31), st.integers(1, 9), st.integers(1, 40), st.integers(-44, 37))
def test_a_code_is_half_a_step_away_at_most(seed: int, num_rows: int, num_columns: int, magnitude: int) -> None:
    """In units of s, the half step of rounding; w / s <= 127 is computed to 127 x 2**-24, and q s in float32 to as
    much again: |w - q s| <= s (1/2 + 254 x 2**-24) < s (1/2 + 2**-16)."""
    generator = torch.Generator().manual_seed(seed)
    weight_OI = torch.randn(num_rows, num_columns, generator=generator) * 10.0**magnitude
    weight_OI[0] = 0.0
    codes_OI, scale_O = rounded_to_int8(weight_OI)
    assert codes_OI.dtype == torch.int8
    assert scale_O.dtype == torch.float32
    assert codes_OI.abs().max() <= 127
    assert (codes_OI == -128).sum() == 0
    error_OI = (weight_OI.double() - (codes_OI.float() * scale_O[:, None]).double()).abs()
    assert (error_OI <= scale_O.double()[:, None] * (0.5 + 2.0**-16)).all()
    largest_O = weight_OI.abs().amax(dim=1)
    uses_all = largest_O / 127 >= SMALLEST_NORMAL
    assert (codes_OI[uses_all].abs().amax(dim=1) == 127).all()
    assert torch.equal(scale_O[uses_all], (largest_O / 127)[uses_all])
    assert (scale_O[~uses_all] == 1).all()
    assert not codes_OI[~uses_all].any()
    opposite_OI, same_O = rounded_to_int8(-weight_OI)
    assert torch.equal(opposite_OI, -codes_OI)
    assert torch.equal(same_O, scale_O)


def test_halves_go_to_the_even_code() -> None:
    codes_OI, scale_O = rounded_to_int8(torch.tensor([[127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5]]))
    assert scale_O.tolist() == [1.0]
    assert codes_OI.tolist() == [[127, 0, 2, 2, 0, -2, -2]]


@KINDS
def test_a_scale_belongs_to_a_feature_out(make) -> None:
    """One feature a thousand times larger takes nothing from the others."""
    layer = make().requires_grad_(False)
    weight_OI = layer.weight if isinstance(layer, nn.Linear) else layer.weight.T
    weight_OI[3] *= 1000
    largest_O = weight_OI.abs().amax(dim=1)
    store_narrow_(layer, torch.int8)
    assert layer.scale.shape == (OUTPUTS,)
    torch.testing.assert_close(layer.scale.data, largest_O / 127)
    assert layer.weight.is_contiguous()
    assert layer.weight.shape == (make().weight.shape)


@KINDS
@DTYPES
def test_outputs_are_those_of_float32_weights(make, dtype: torch.dtype) -> None:
    narrow, wide = narrow_and_wide(make, dtype)
    found, expected = narrow(rows()), wide(rows())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
    assert torch.equal(narrow(rows()), found)


@KINDS
@DTYPES
def test_gradients_by_inputs_are_those_of_float32_weights(make, dtype: torch.dtype) -> None:
    def gradient(layer: nn.Module) -> tuple[Tensor, Tensor]:
        """First and second order; the layer is in the graph of both."""
        inputs = rows().requires_grad_()
        (first,) = torch.autograd.grad(layer(inputs).pow(2).sum(), inputs, create_graph=True)
        (second,) = torch.autograd.grad(first.pow(2).sum(), inputs)
        return first.detach(), second

    for found, expected in zip(*(gradient(layer) for layer in narrow_and_wide(make, dtype)), strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


@KINDS
@DTYPES
def test_forward_mode_is_that_of_float32_weights(make, dtype: torch.dtype) -> None:
    tangent = rows().flip(0)

    def derivative(layer: nn.Module) -> Tensor:
        with forward_ad.dual_level():
            outputs = layer(forward_ad.make_dual(rows(), tangent)).sin()
            return forward_ad.unpack_dual(outputs).tangent.clone()

    narrow, wide = narrow_and_wide(make, dtype)
    expected = derivative(wide)
    torch.testing.assert_close(derivative(narrow), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def test_gradients_of_lora_are_finite_differences_in_float64() -> None:
    model = uncut("gpt2").double()
    Adaptation(lora_rank=2, lora_layers="all", base="int8").apply_(model, model.config)
    generator = torch.Generator().manual_seed(5)
    trained = {name: tensor for name, tensor in model.named_parameters() if tensor.requires_grad}
    values = [0.2 * torch.randn(tensor.shape, generator=generator).double() for tensor in trained.values()]
    embedded = torch.randn(2, 5, WIDTH, generator=generator).double()  # the embeddings are in bfloat16

    def hidden(*tensors: Tensor) -> Tensor:
        replaced = {name.removeprefix("transformer."): tensor for name, tensor in zip(trained, tensors, strict=True)}
        given = {"inputs_embeds": embedded}
        return torch.func.functional_call(model.transformer, replaced, (), given).last_hidden_state

    assert any(tensor.dtype == torch.int8 for tensor in model.parameters())
    assert torch.autograd.gradcheck(hidden, [value.requires_grad_() for value in values], fast_mode=True)


@KINDS
@DTYPES
def test_no_wide_weight_is_kept(make, dtype: torch.dtype) -> None:
    """Bytes in the graph of a first-order client, and beyond one widened matrix at any time."""
    narrow, _ = narrow_and_wide(make, dtype)
    layers = nn.Sequential(narrow, nn.Linear(OUTPUTS, INPUTS, bias=False), copy.deepcopy(narrow))
    kept: list[Tensor] = []
    inputs = rows().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        outputs = layers(inputs)
    weights = [tensor for tensor in kept if tensor.numel() == INPUTS * OUTPUTS and not tensor.requires_grad]
    assert {tensor.dtype for tensor in weights} == {dtype}
    outputs.sum().backward()

    one_row = torch.zeros(1, INPUTS, requires_grad=True)

    def step() -> None:
        layers(one_row).sum().backward()

    profile = measure_memory(step, parameters=layers.parameters(), inputs=[one_row], modules=[layers])
    widened = 4 * INPUTS * OUTPUTS
    beside = profile.peak_bytes - sum(tensor.nbytes for tensor in layers.parameters())
    # The trained layer's gradient, one widened matrix, and rows of the activations.
    assert widened < beside < 2 * widened + 8 * 4 * (INPUTS + OUTPUTS)


def test_int8_takes_a_quarter_of_the_room() -> None:
    """A byte a weight and four a feature: 1/4 + 1/I of float32, I >= 64 here."""
    model = uncut("gpt2", n_embd=64)
    wide = sum(layer.weight.nbytes for layer in model.modules() if isinstance(layer, Conv1D))
    Adaptation(base="int8").apply_(model, model.config)
    layers = [layer for layer in model.modules() if isinstance(layer, Conv1D)]
    found = sum(layer.weight.nbytes + layer.scale.nbytes for layer in layers)
    assert found == sum(math.prod(layer.weight.shape) + 4 * layer.weight.shape[1] for layer in layers)
    assert found <= 0.3 * wide


@DTYPES
def test_the_wide_weight_is_freed_as_the_narrow_one_is_made(dtype: torch.dtype) -> None:
    layers = nn.Sequential(*(nn.Linear(64, 64, bias=False) for _ in range(8))).requires_grad_(False)
    weight = 4 * 64 * 64
    profile = measure_memory(lambda: store_narrow_(layers, dtype), parameters=list(layers.parameters()))
    assert profile.peak_bytes < (8 + 2.5) * weight


@KINDS
@DTYPES
def test_layers_are_copied_moved_saved_and_loaded_as_they_are_stored(make, dtype: torch.dtype) -> None:
    narrow, _ = narrow_and_wide(make, dtype)
    expected = narrow(rows())
    copied = copy.deepcopy(narrow).to("cpu", torch.float32 if dtype == torch.int8 else None)
    assert copied.weight.dtype == dtype
    assert copied.weight.data_ptr() != narrow.weight.data_ptr()
    assert torch.equal(copied(rows()), expected)
    saved = save(narrow.state_dict())
    other = make().requires_grad_(False)
    store_narrow_(other, dtype)
    assert not torch.equal(other(rows()), expected)
    other.load_state_dict(load(saved))
    assert torch.equal(other(rows()), expected)
    assert [tensor.dtype for tensor in load(saved).values()].count(dtype) == 1
    assert ("scale" in load(saved)) == (dtype == torch.int8)


@KINDS
@DTYPES
def test_wide_again_weights_are_what_the_narrow_ones_stand_for(make, dtype: torch.dtype) -> None:
    narrow, wide = narrow_and_wide(make, dtype)
    store_wide_(narrow)
    assert type(narrow) is type(wide)
    assert narrow.weight.is_contiguous()
    assert torch.equal(narrow.weight, wide.weight)
    assert narrow.state_dict().keys() == wide.state_dict().keys()
    assert torch.equal(narrow(rows()), wide(rows()))


@DTYPES
def test_shared_weights_stay_shared(dtype: torch.dtype) -> None:
    first, second = without_bias(), without_bias()
    second.weight = first.weight
    layers = nn.Sequential(first, second).requires_grad_(False)
    store_narrow_(layers, dtype)
    assert first.weight is second.weight
    assert first.scale is second.scale
    stands_for = first.weight.float() * (first.scale[:, None] if first.scale is not None else 1)
    store_wide_(layers)
    assert first.weight is second.weight
    assert torch.equal(first.weight, stands_for)


def test_the_unembedding_and_embeddings_are_in_bfloat16() -> None:
    for name in ("gpt2", "gpt2, untied"):
        model = uncut(name)
        Adaptation(base="int8").apply_(model, model.config)
        assert model.lm_head.weight.dtype == torch.bfloat16
        assert model.transformer.wte.weight.dtype == model.transformer.wpe.weight.dtype == torch.bfloat16
        assert (model.lm_head.weight is model.transformer.wte.weight) == (name == "gpt2")
        assert model.transformer.h[0].attn.c_attn.base_layer.weight.dtype == torch.int8
        assert model.transformer.h[0].ln_1.weight.dtype == torch.float32


def refuse(text: str, act) -> None:
    with pytest.raises(SplitError, match=text) as caught:
        act()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_weights_that_are_not_finite_are_refused(value: float, name: str, tmp_path) -> None:
    model = uncut(name)
    layer = "transformer.h.1.mlp.c_fc" if name == "gpt2" else "model.layers.1.mlp.up_proj"
    model.get_parameter(f"{layer}.weight").data[3, 2] = value
    model.save_pretrained(tmp_path)
    refuse(
        rf"finite weights for split\.base=int8, found NaN or infinity in '{layer}'",
        lambda: causal_lm(
            str(tmp_path), num_client_blocks=1, num_auxiliary_blocks=1, adaptation=Adaptation(base="int8")
        ),
    )


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (3, 0)])
def test_a_weight_that_is_no_matrix_is_refused(shape: tuple[int, ...]) -> None:
    layers = nn.Sequential(linear()).requires_grad_(False)
    layers[0].weight = nn.Parameter(torch.zeros(shape), requires_grad=False)
    refuse(r"expected matrices for split\.base=int8, found shape .* in '0'", lambda: store_narrow_(layers, torch.int8))
