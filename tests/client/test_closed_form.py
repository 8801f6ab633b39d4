"""The linear layer's gradient formula against autograd, and the clients that use it or must not."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.overrides import TorchFunctionMode

from heron.algorithms import ALGORITHMS
from heron.client.round import finish
from heron.client.torch_runtime.closed_form import has_closed_form, linear_cross_entropy
from heron.data import IGNORED, Batch
from heron.seeds import StepKey
from heron.split import SplitModel, linear_head, pooled_linear_head
from heron.wire.groups import Probes, Settings
from tests.settings import changed

KEY = StepKey(5, 0, 0, 0)
sizes = st.integers(1, 6)


def by_autograd(layer: nn.Linear, features: Tensor, labels: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """(Loss, gradient of the features); adds the layer's gradients to it."""
    at = features.clone().requires_grad_()
    loss = cross_entropy(layer(at), labels) * share
    loss.backward()
    return loss.detach(), at.grad


@settings(max_examples=60, deadline=None)
@given(
    batch=st.lists(sizes, min_size=1, max_size=3),
    num_features=sizes,
    num_classes=sizes,
    bias=st.booleans(),
    frozen=st.sampled_from(["", "weight", "bias"]),
    spread=st.sampled_from([0.1, 1.0, 30.0]),
    one_out=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_the_formula_equals_autograd(batch, num_features, num_classes, bias, frozen, spread, one_out, seed) -> None:
    """Over micro-batches whose shares add up to 1; float64, whose rounding is 1e-16 of logits up to about 1e3."""
    generator = torch.Generator().manual_seed(seed)
    layers = [nn.Linear(num_features, num_classes, bias=bias, dtype=torch.float64) for _ in range(2)]
    layers[1].load_state_dict(layers[0].state_dict())
    for layer in layers:
        for name, parameter in layer.named_parameters():
            parameter.requires_grad_(name != frozen)
    for size in batch:
        features = spread * torch.randn(size, num_features, generator=generator, dtype=torch.float64)
        labels = torch.randint(0, num_classes, (size,), generator=generator)
        labels[1::2] = IGNORED
        before = features.clone()
        loss, backward = linear_cross_entropy(layers[0], features, labels, size / sum(batch), leaves_one_out=one_out)
        delta = backward()
        expected_loss, expected_delta = by_autograd(layers[1], features, labels, size / sum(batch))
        torch.testing.assert_close(loss, expected_loss, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(delta, expected_delta, rtol=1e-12, atol=1e-12)
        assert torch.equal(features, before)
    for (name, found), (_, expected) in zip(*(layer.named_parameters() for layer in layers), strict=True):
        assert (found.grad is None) == (name == frozen) == (expected.grad is None)
        if found.grad is not None:
            torch.testing.assert_close(found.grad, expected.grad, rtol=1e-12, atol=1e-12)


class DoubledLinear(nn.Linear):
    """A subclass may compute something else."""

    def forward(self, inputs: Tensor) -> Tensor:
        return 2 * super().forward(inputs)


def normalised() -> nn.Module:
    """Its weight is recomputed by a hook before every call."""
    return torch.nn.utils.spectral_norm(nn.Linear(48, 5))


SMOOTHED = partial(cross_entropy, label_smoothing=0.1)


@pytest.mark.parametrize(
    ("make", "criterion", "expected"),
    [
        (lambda: nn.Linear(48, 5), cross_entropy, True),
        (lambda: nn.Sequential(nn.Linear(48, 5)), cross_entropy, True),
        (lambda: nn.Linear(48, 5), nn.CrossEntropyLoss(), False),
        (lambda: nn.Linear(48, 5), SMOOTHED, False),
        (lambda: nn.Sequential(nn.Linear(48, 6), nn.Linear(6, 5)), cross_entropy, False),
        (lambda: nn.Sequential(nn.Linear(48, 5), nn.Softplus()), cross_entropy, False),
        (lambda: DoubledLinear(48, 5), cross_entropy, False),
        (normalised, cross_entropy, False),
        (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(48, 5)), cross_entropy, False),
    ],
)
def test_what_has_a_formula(make: Callable[[], nn.Module], criterion, expected: bool) -> None:
    assert has_closed_form(make(), criterion) is expected


def split_model(make_head: Callable[[], nn.Module]) -> SplitModel:
    torch.manual_seed(0)
    client, head = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.GroupNorm(1, 3), nn.ReLU()), make_head()
    return SplitModel(client, nn.Sequential(nn.Flatten(), nn.Linear(48, 5)), head).double()


def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(6, 1, 4, 4, generator=generator, dtype=torch.float64)
    return Batch(inputs, torch.randint(0, 5, (6,), generator=generator))


def learner(split: SplitModel, criterion=cross_entropy, **changes):
    values = {"optimizer": "sgd", "learning_rate": 0.1, "exact": 1, "estimator": Probes(probes=2)} | changes
    return ALGORITHMS["heron"].torch_client(split, criterion, changed(Settings(), **values))[1]


class NoGraph(TorchFunctionMode):
    """Looks at every tensor that any torch function returns."""

    def __init__(self) -> None:
        super().__init__()
        self.num_tensors = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **kwargs or {})
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor):
                self.num_tensors += 1
                assert isinstance(tensor, nn.Parameter) or not tensor.requires_grad, func
        return result


@pytest.mark.parametrize("head", [linear_head, pooled_linear_head])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("micro_batch", [0, 4])
def test_a_linear_head_needs_no_autograd(monkeypatch, head, optimizer: str, micro_batch: int) -> None:
    split = split_model(lambda: head((3, 4, 4), 5))
    client = learner(split, micro_batch=micro_batch, optimizer=optimizer)
    before = {name: tensor.clone() for name, tensor in client.model().items()}

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("autograd was called")

    for owner, name in (
        (torch.autograd, "backward"),
        (torch.autograd, "grad"),
        (Tensor, "backward"),
        (torch, "enable_grad"),
    ):
        monkeypatch.setattr(owner, name, refuse)
    watch = NoGraph()
    with watch:
        step = client.step(batch(), KEY)
        next(step)
        finish(step)
    assert watch.num_tensors > 20
    assert all(not torch.equal(client.model()[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64])
def test_labels_of_other_kinds(dtype: torch.dtype) -> None:
    """Classes in a byte, and probabilities of classes: cross-entropy takes both."""
    labels = batch().labels
    other = labels.to(dtype) if dtype is torch.uint8 else nn.functional.one_hot(labels, 5).to(dtype)
    heads = []
    for given_labels in (labels, other):
        split = split_model(lambda: linear_head((3, 4, 4), 5))
        step = learner(split).step(Batch(batch().inputs, given_labels), KEY)
        next(step)
        finish(step)
        heads.append(split.auxiliary.fc.weight.detach())
    torch.testing.assert_close(heads[1], heads[0], rtol=1e-12, atol=1e-12)


def flat(layer: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), layer)


@pytest.mark.parametrize(
    ("make_head", "criterion"),
    [
        (lambda: linear_head((3, 4, 4), 5), cross_entropy),
        (lambda: linear_head((3, 4, 4), 5), SMOOTHED),
        (lambda: linear_head((3, 4, 4), 5), nn.CrossEntropyLoss(weight=torch.arange(1.0, 6.0).double())),
        (lambda: flat(DoubledLinear(48, 5)), cross_entropy),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(48, 6), nn.Tanh(), nn.Linear(6, 5)), cross_entropy),
        (lambda: flat(normalised()), cross_entropy),
    ],
    ids=["formula", "smoothed", "weighted", "subclass", "two layers", "spectral norm"],
)
def test_the_head_gets_the_gradient_of_its_own_loss(make_head: Callable[[], nn.Module], criterion) -> None:
    """CSE-FSL's client, which differentiates everything with autograd, moves its head to the same place."""
    heads = []
    for exact in (1, "all"):
        split = split_model(make_head)
        before = [parameter.clone() for parameter in split.auxiliary.parameters()]
        step = learner(split, criterion, exact=exact).step(batch(), KEY)
        next(step)
        finish(step)
        heads.append([parameter.detach() for parameter in split.auxiliary.parameters()])
        assert all(not torch.equal(old, new) for old, new in zip(before, heads[-1], strict=True))
    for found, expected in zip(*heads, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_a_bare_linear_head_under_layers_that_train_exactly() -> None:
    """Only the head has a formula: with client layers above the boundary too, autograd goes through all of them."""
    heads = []
    for exact in (2, "all"):
        split = split_model(lambda: nn.Linear(4, 5))
        split.client = nn.Sequential(*split.client, nn.Flatten(), nn.Linear(48, 4)).double()
        step = learner(split, exact=exact).step(batch(), KEY)
        next(step)
        finish(step)
        heads.append([*split.client[4].parameters(), *split.auxiliary.parameters()])
    for found, expected in zip(*heads, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
