"""The cross-entropy of tokens in chunks is that of all scores at once, in value, gradients, operations and room."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.functional import cross_entropy

from heron.metering import MemoryProfile, measure_flops, measure_memory
from heron.split import TokenLogits, num_counted, token_cross_entropy, token_logits

SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture
def _many_chunks(monkeypatch) -> None:
    """Three positions a chunk for 11 tokens, slices of 4 tokens."""
    monkeypatch.setattr(token_logits, "_CHUNK_BYTES", 3 * 4 * 11)
    monkeypatch.setattr(token_logits, "_SLICE_ROWS", 4)


def problem(shape=(3, 5), width=7, num_tokens=11, seed=0, dtype=torch.float64, ignored=0.4):
    """Hidden states, unembedding and labels, a share of them ignored."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(*shape, width, generator=generator, dtype=torch.float64).to(dtype)
    weight = torch.randn(num_tokens, width, generator=generator, dtype=torch.float64).to(dtype)
    labels = torch.randint(0, num_tokens, shape, generator=generator)
    return hidden, weight, labels.masked_fill(torch.rand(shape, generator=generator) < ignored, -100)


def reference(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """All scores at once; torch's mean over no position at all would be NaN."""
    scores = (hidden.reshape(-1, hidden.shape[-1])) @ weight.T
    return cross_entropy(scores, labels.reshape(-1), reduction="sum") / max(1, int((labels != -100).sum()))


def loss_and_gradients(loss_fn, hidden: Tensor, weight: Tensor, labels: Tensor, scale: float = 1.0) -> list[Tensor]:
    hidden, weight = (tensor.detach().clone().requires_grad_() for tensor in (hidden, weight))
    loss = loss_fn(hidden, weight, labels)
    return [loss.detach(), *torch.autograd.grad(scale * loss, (hidden, weight))]


def chunked(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    return token_cross_entropy(TokenLogits(hidden, weight), labels)


def assert_close(found: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        difference = (one.double() - other.double()).abs().max() if one.numel() else torch.zeros(())
        assert difference <= tolerance * (1 + other.double().abs().max()), (one, other)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_value_and_gradients_are_those_of_all_scores(dtype, tolerance, data) -> None:
    draw = data.draw
    shape, width = (draw(st.integers(1, 4)), draw(st.integers(1, 6))), draw(st.integers(1, 9))
    num_tokens = draw(st.integers(1, 30))
    inputs = problem(shape, width, num_tokens, draw(SEEDS), dtype, draw(st.sampled_from([0.0, 0.5, 1.0])))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_logits, "_CHUNK_BYTES", draw(st.integers(1, 4 * 30 * 30)))
        found = loss_and_gradients(chunked, *inputs, scale=-1.5)
    assert found[0].shape == ()
    assert found[0].dtype == torch.float64
    assert all(gradient.dtype == dtype for gradient in found[1:])
    wide = [tensor.double() if tensor.dtype == dtype else tensor for tensor in inputs]
    assert_close(found, loss_and_gradients(reference, *wide, scale=-1.5), tolerance)


@pytest.mark.parametrize("shape", [(3, 5), (0, 4), (2, 0)])
def test_no_label_that_counts_is_a_loss_of_zero(shape) -> None:
    hidden, weight, labels = problem(shape, ignored=1.1)
    loss, *gradients = loss_and_gradients(chunked, hidden, weight, labels)
    assert loss == 0
    assert all(torch.equal(gradient, torch.zeros_like(gradient)) for gradient in gradients)
    assert num_counted(labels) == 0


def test_scores_that_would_overflow_do_not() -> None:
    hidden, weight, labels = problem()
    assert_close(
        loss_and_gradients(chunked, 1e4 * hidden, weight, labels),
        loss_and_gradients(reference, 1e4 * hidden, weight, labels),
        1e-12,
    )


def test_scores_are_the_product_of_the_factors() -> None:
    hidden, weight, _ = problem(dtype=torch.float32)
    assert torch.equal(TokenLogits(hidden, weight).scores(), hidden @ weight.T)
    assert torch.equal(TokenLogits(hidden, weight.bfloat16()).scores(), hidden @ weight.bfloat16().float().T)


@pytest.mark.usefixtures("_many_chunks")
@pytest.mark.parametrize("num_tokens", [1, 3, 4, 5, 8, 11, 40])
def test_a_narrow_unembedding_computes_in_the_dtype_of_the_hidden_states(num_tokens: int) -> None:
    hidden, weight, labels = problem(num_tokens=num_tokens, dtype=torch.float32)
    narrow = weight.bfloat16()
    loss, gradient = _loss_and_hidden_gradient(hidden, narrow, labels)
    expected = loss_and_gradients(reference, hidden.double(), narrow.double(), labels)
    assert gradient.dtype == torch.float32
    assert_close([loss, gradient], expected[:2], 1e-5)


@pytest.mark.usefixtures("_many_chunks")
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_frozen_unembedding_gets_no_gradient(dtype) -> None:
    hidden, weight, labels = problem()
    hidden.requires_grad_()
    weight = weight.to(dtype)
    chunked(hidden, weight, labels).backward()
    assert weight.grad is None
    expected = loss_and_gradients(reference, hidden, weight.double(), labels)[1]
    assert_close([hidden.grad], [expected], 1e-12)
    hidden, weight = hidden.detach(), weight.double().requires_grad_()
    chunked(hidden, weight, labels).backward()
    assert hidden.grad is None
    assert_close([weight.grad], [loss_and_gradients(reference, hidden, weight, labels)[2]], 1e-12)


@pytest.mark.usefixtures("_many_chunks")
def test_every_kind_of_derivative() -> None:
    hidden, weight, labels = problem((2, 4), width=3, num_tokens=5)
    hidden.requires_grad_()
    weight.requires_grad_()

    def loss(*factors: Tensor) -> Tensor:
        return token_cross_entropy(TokenLogits(*factors), labels)

    assert gradcheck(loss, (hidden, weight), check_forward_ad=True)
    assert gradcheck(lambda factor: loss(factor, weight.detach()), (hidden,), check_forward_ad=True)
    assert gradcheck(lambda factor: loss(hidden.detach(), factor), (weight,), check_forward_ad=True)
    assert gradgradcheck(loss, (hidden, weight))
    assert gradgradcheck(lambda factor: loss(factor, weight.detach()), (hidden,))
    assert gradgradcheck(lambda factor: loss(hidden.detach(), factor), (weight,))


@pytest.mark.usefixtures("_many_chunks")
def test_a_gradient_that_is_differentiated_has_the_same_value() -> None:
    hidden, weight, labels = problem()
    hidden.requires_grad_()
    loss = chunked(hidden, weight, labels)
    (plain,) = torch.autograd.grad(loss, hidden, retain_graph=True)
    (graph,) = torch.autograd.grad(loss, hidden, create_graph=True)
    assert graph.requires_grad
    assert_close([graph.detach()], [plain], 1e-12)


def test_a_gradient_of_a_narrow_unembedding_can_be_differentiated() -> None:
    hidden, weight, labels = problem(dtype=torch.float32)
    narrow = weight.bfloat16()

    def second_order(loss_fn, factor) -> Tensor:
        leaf = hidden.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss_fn(leaf, factor, labels), leaf, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), leaf)[0]

    assert_close([second_order(chunked, narrow)], [second_order(reference, narrow.float())], 1e-5)


FLOPS = pytest.mark.parametrize(
    ("wants_hidden", "wants_weight", "grad", "products"),
    [
        (False, False, True, 1),
        (True, False, True, 2),
        (False, True, True, 2),
        (True, True, True, 3),
        (True, True, False, 1),
    ],
)


@FLOPS
@pytest.mark.usefixtures("_many_chunks")
@pytest.mark.parametrize("fake", [False, True])
@pytest.mark.parametrize("narrow", [False, True])
def test_operations_are_counted(wants_hidden, wants_weight, grad, products, fake, narrow) -> None:
    """FLOPs: 2 N D V for the scores and for each gradient; none for gradients that are not needed."""
    with FakeTensorMode() if fake else torch.enable_grad():
        hidden, weight = torch.zeros(3, 5, 7), torch.zeros(11, 7, dtype=torch.bfloat16 if narrow else torch.float32)
        labels = torch.zeros(3, 5, dtype=torch.int64)
        hidden.requires_grad_(wants_hidden)
        weight.requires_grad_(wants_weight)

        def work() -> None:
            with torch.set_grad_enabled(grad):
                loss = chunked(hidden, weight, labels)
            if loss.requires_grad:
                loss.backward()

        assert measure_flops(work) == products * 2 * 15 * 7 * 11


def test_positions_that_do_not_count_cost_nothing() -> None:
    hidden, weight, labels = problem()
    assert measure_flops(lambda: chunked(hidden, weight, labels)) == 2 * int((labels != -100).sum()) * 7 * 11


WIDTH, NUM_TOKENS = 8, 500


def memory(num_positions: int, *, backward: bool, fake: bool = False, dtype=torch.float32) -> MemoryProfile:
    with FakeTensorMode() if fake else torch.enable_grad():
        hidden = torch.zeros(2, num_positions // 2, WIDTH, requires_grad=backward)
        weight, labels = torch.zeros(NUM_TOKENS, WIDTH, dtype=dtype), torch.zeros(2, num_positions // 2).long()

        def work() -> None:
            loss = chunked(hidden, weight, labels)
            if backward:
                torch.autograd.grad(loss, hidden)

        return measure_memory(work, parameters=[weight], inputs=[hidden, labels])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("backward", [False, True])
def test_room_grows_with_the_hidden_states_and_not_with_the_scores(backward, dtype, monkeypatch) -> None:
    monkeypatch.setattr(token_logits, "_CHUNK_BYTES", 16 * 4 * NUM_TOKENS)
    monkeypatch.setattr(token_logits, "_SLICE_ROWS", 50)
    few, many = (memory(count, backward=backward, dtype=dtype).peak_bytes for count in (64, 64 + 512))
    # Hidden states, and with a backward pass their gradient and that times the loss's; labels and which of them count.
    hidden_sized = 4 * WIDTH * (3 if backward else 1)
    assert (many - few) / 512 <= hidden_sized + 8 + 8 + 1
    # Scores of a chunk, twice at most; a slice widened, and its scores.
    chunk, piece = 4 * 16 * (NUM_TOKENS + WIDTH), 4 * 50 * (16 + WIDTH)
    assert few <= 64 * (hidden_sized + 17) + dtype.itemsize * NUM_TOKENS * WIDTH + 2 * chunk + piece + 256


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("backward", [False, True])
def test_fake_tensors_take_the_room_of_real_ones(backward, dtype, monkeypatch) -> None:
    monkeypatch.setattr(token_logits, "_CHUNK_BYTES", 16 * 4 * NUM_TOKENS)
    monkeypatch.setattr(token_logits, "_SLICE_ROWS", 200)
    real, fake = (memory(64, backward=backward, fake=fake, dtype=dtype) for fake in (False, True))
    assert fake == real


def _loss_and_hidden_gradient(hidden: Tensor, weight: Tensor, labels: Tensor) -> list[Tensor]:
    hidden = hidden.clone().requires_grad_()
    loss = chunked(hidden, weight, labels)
    return [loss.detach(), *torch.autograd.grad(loss, hidden)]
