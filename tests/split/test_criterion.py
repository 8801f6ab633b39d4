"""A loss is a mean over the labels that count, in one batch or in several."""

import functools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from heron.data import IGNORED
from heron.split.criterion import MeanLoss, is_torchs, name_of, scaled, takes_classes

CLASSES = 4
WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 3.0])


def own(outputs: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(outputs, labels)


def batch(*shape: int, ignored: int = IGNORED) -> tuple[Tensor, Tensor]:
    """Outputs with classes over dimension 1, and labels of which two in five do not count; the first row has none."""
    generator = torch.Generator().manual_seed(len(shape))
    labels = torch.randint(CLASSES, shape, generator=generator)
    labels.view(-1)[::5] = labels.view(-1)[3::5] = ignored
    labels[0] = ignored
    return torch.randn(shape[0], CLASSES, *shape[1:], generator=generator, dtype=torch.float64), labels


CRITERIA = [
    (functional.cross_entropy, IGNORED),
    (nn.CrossEntropyLoss(), IGNORED),
    (nn.CrossEntropyLoss(ignore_index=255), 255),
    (nn.CrossEntropyLoss(weight=WEIGHTS.double()), IGNORED),
    (nn.CrossEntropyLoss(weight=WEIGHTS.double(), label_smoothing=0.2, ignore_index=2), 2),
    (functools.partial(functional.cross_entropy, weight=WEIGHTS.double(), ignore_index=-1), -1),
    (own, IGNORED),
]


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("shape", [(10,), (6, 7), (4, 3, 5)])
@pytest.mark.parametrize(("criterion", "ignored"), CRITERIA)
def test_pieces_with_their_shares_are_the_batch(criterion, ignored, shape, size):
    outputs, labels = batch(*shape, ignored=ignored)
    loss = MeanLoss(criterion)
    assert loss.ignored == ignored
    starts = range(0, len(labels), size)
    pieces = [(outputs[start : start + size], labels[start : start + size]) for start in starts]
    total = sum(scaled(loss(*piece), loss.share(piece[1], labels)) for piece in pieces)
    # Shares of labels with several positions have the precision of float32.
    torch.testing.assert_close(total, criterion(outputs, labels), rtol=1e-6, atol=1e-6)
    weights = [loss.weight(piece[1]) for piece in pieces]
    mean = sum(loss(*piece) * weight for piece, weight in zip(pieces, weights, strict=True)) / sum(weights)
    torch.testing.assert_close(mean, criterion(outputs, labels), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(10,), (6, 7), (4, 3, 5)])
@pytest.mark.parametrize(("criterion", "ignored"), CRITERIA[:-1])
def test_losses_of_examples_with_their_weights_are_the_batch(criterion, ignored, shape):
    outputs, labels = batch(*shape, ignored=ignored)
    loss = MeanLoss(criterion)
    losses = loss.losses(outputs, labels)
    assert losses.shape == shape[:1]
    rows = [(outputs[row : row + 1], labels[row : row + 1]) for row in range(len(labels))]
    torch.testing.assert_close(losses, torch.stack([loss(*row) for row in rows]))
    assert losses[0] == 0
    weights = torch.stack([torch.as_tensor(loss.weight(labels)) for _, labels in rows])
    torch.testing.assert_close((losses * weights).sum() / weights.sum(), criterion(outputs, labels))


@pytest.mark.parametrize(("criterion", "ignored"), CRITERIA)
def test_without_a_label_that_counts_loss_and_gradient_are_zero(criterion, ignored):
    outputs = batch(5)[0].requires_grad_()
    loss = MeanLoss(criterion)(outputs, torch.full((5,), ignored))
    (gradient,) = torch.autograd.grad(loss, outputs)
    assert loss == 0
    assert gradient.abs().max() == 0


@pytest.mark.parametrize("criterion", [functional.cross_entropy, own, nn.CrossEntropyLoss()])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_where_all_labels_count_bits_are_those_of_the_criterion(criterion, dtype):
    outputs, labels = torch.randn(7, CLASSES, dtype=dtype), torch.randint(CLASSES, (7,))
    loss = MeanLoss(criterion)
    assert torch.equal(loss(outputs, labels), criterion(outputs, labels))
    assert loss(outputs, labels).dtype == dtype
    piece = criterion(outputs[:3], labels[:3])
    assert torch.equal(scaled(piece, loss.share(labels[:3], labels)), piece * (3 / 7))
    assert torch.equal(piece * loss.weight(labels[:3]), piece * 3)


@pytest.mark.parametrize("criterion", [functional.mse_loss, nn.L1Loss(), nn.BCEWithLogitsLoss(), nn.MultiMarginLoss()])
def test_a_loss_of_torch_without_an_ignored_label_counts_every_example(criterion):
    loss = MeanLoss(criterion)
    assert loss.ignored is None
    labels = torch.tensor([IGNORED, 1, 0])
    assert loss.weight(labels) == 3
    assert loss.counted(labels) is None
    assert loss.share(labels[:1], labels) == pytest.approx(1 / 3)


def test_numbers_to_regress_on_may_be_any():
    labels = torch.tensor([-100.0, 1.0])
    assert MeanLoss(own).weight(labels) == 2
    assert MeanLoss(own).share(labels[:1], labels) == 0.5


def test_modules_have_losses_of_examples_and_stay_as_they_are():
    criterion = nn.MSELoss()
    outputs, labels = torch.randn(4, 3), torch.randn(4, 3)
    losses = MeanLoss(criterion).losses(outputs, labels)
    torch.testing.assert_close(losses, ((outputs - labels) ** 2).mean(1))
    assert criterion.reduction == "mean"


def test_whose_a_criterion_is():
    smooth = functools.partial(functional.cross_entropy, label_smoothing=0.1)
    assert takes_classes(smooth)
    assert takes_classes(nn.NLLLoss())
    assert not takes_classes(nn.MSELoss())
    assert not takes_classes(own)
    assert is_torchs(functional.mse_loss)
    assert not is_torchs(own)
    assert [name_of(one) for one in (smooth, nn.MSELoss(), own)] == ["cross_entropy", "MSELoss", "own"]
