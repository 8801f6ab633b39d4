"""Every label that counts weighs the same, however the examples are batched."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

from heron.analysis import ACCURACY, PERPLEXITY, quality_of
from heron.data import IGNORED
from heron.runs.evaluation import Evaluation, evaluate
from heron.split.token_logits import TokenLogits

CPU = torch.device("cpu")
NUM_TOKENS, LENGTH, NUM_SEQUENCES = 6, 5, 7
COUNTED = (5, 1, 0, 3, 5, 2, 4)  # labels of each sequence that count


class Bigrams(nn.Module):
    """Scores of the next token from the present one alone."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.hidden_VD = nn.Parameter(torch.randn(NUM_TOKENS, 3, generator=generator))
        self.unembedding_VD = nn.Parameter(torch.randn(NUM_TOKENS, 3, generator=generator))
        self.num_sequences = []

    def forward(self, inputs_BT):
        self.num_sequences.append(len(inputs_BT))
        return TokenLogits(self.hidden_VD[inputs_BT], self.unembedding_VD)


def token_loss(outputs, labels_BT):
    """The mean, NaN where no label counts."""
    scores_BTV = outputs.hidden_BTD @ outputs.unembedding_VD.T
    return cross_entropy(scores_BTV.flatten(0, 1), labels_BT.flatten(), ignore_index=IGNORED)


@pytest.fixture
def sequences():
    generator = torch.Generator().manual_seed(2)
    inputs, labels = (torch.randint(NUM_TOKENS, (NUM_SEQUENCES, LENGTH), generator=generator) for _ in range(2))
    for row, count in zip(labels, COUNTED, strict=True):
        row[count:] = IGNORED
    return TensorDataset(inputs, labels)


def loss_by_hand(model, dataset):
    """Token after token: log sum exp of the scores, less the score of the label."""
    losses = []
    for inputs, labels in dataset:
        for token, label in zip(inputs.tolist(), labels.tolist(), strict=True):
            if label == -100:
                continue
            hidden = model.hidden_VD[token].tolist()
            scores = [sum(a * b for a, b in zip(hidden, row, strict=True)) for row in model.unembedding_VD.tolist()]
            losses.append(math.log(sum(math.exp(score) for score in scores)) - scores[label])
    assert len(losses) == sum(COUNTED)
    return sum(losses) / len(losses)


@pytest.mark.parametrize("batch_size", [1, 3, 500])
@pytest.mark.parametrize("max_tokens", [1, 2 * LENGTH, 4096])
def test_perplexity_is_that_of_all_counted_tokens_at_any_batch_size(sequences, batch_size, max_tokens):
    model = Bigrams()
    result = evaluate(model, sequences, token_loss, device=CPU, batch_size=batch_size, max_tokens=max_tokens)
    expected = loss_by_hand(model, sequences)
    assert result.loss == pytest.approx(expected, rel=1e-6)
    assert result.perplexity == pytest.approx(math.exp(expected), rel=1e-6)
    assert result.accuracy is None
    assert max(model.num_sequences) == min(batch_size, max(1, max_tokens // LENGTH), NUM_SEQUENCES)
    assert sum(model.num_sequences) == NUM_SEQUENCES


def test_classes_are_evaluated_bit_for_bit_as_a_mean_over_examples():
    generator = torch.Generator().manual_seed(3)
    model = nn.Linear(4, 3)
    inputs, labels = torch.randn(11, 4, generator=generator), torch.randint(3, (11,), generator=generator)
    result = evaluate(model, TensorDataset(inputs, labels), cross_entropy, device=CPU, batch_size=4)
    with torch.no_grad():
        batches = [(model(inputs[start : start + 4]), labels[start : start + 4]) for start in (0, 4, 8)]
        losses = [cross_entropy(outputs, of_batch) * len(of_batch) for outputs, of_batch in batches]
    correct = int((model(inputs).argmax(dim=-1) == labels).sum())
    assert result == Evaluation(float(torch.stack(losses).sum()) / 11, correct / 11, None)


def test_tensor_outputs_of_sequences_have_the_accuracy_of_counted_labels():
    scores_BTV = torch.tensor([[[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]])
    dataset = TensorDataset(scores_BTV, torch.tensor([[1, 1, IGNORED]]))
    model = nn.Identity()
    result = evaluate(model, dataset, lambda outputs, labels: outputs.sum(), device=CPU)
    assert result == Evaluation(loss=3.0, accuracy=0.5, perplexity=None)


def test_nothing_to_evaluate_and_the_mode_stays(sequences):
    model = Bigrams()
    assert evaluate(model, TensorDataset(torch.empty(0), torch.empty(0)), token_loss, device=CPU) is None
    inputs, labels = sequences.tensors
    nothing = TensorDataset(inputs, torch.full_like(labels, IGNORED))
    assert evaluate(model, nothing, token_loss, device=CPU) is None
    assert model.training
    evaluate(model.eval(), sequences, token_loss, device=CPU)
    assert not model.training


@pytest.mark.parametrize(
    ("loss", "perplexity", "saved"),
    [(1000.0, math.inf, 1000.0), (math.inf, math.inf, None), (math.nan, math.nan, None)],
)
def test_what_json_cannot_hold_is_none(sequences, loss, perplexity, saved):
    result = evaluate(Bigrams(), sequences, lambda outputs, labels: torch.tensor(loss), device=CPU, batch_size=1)
    assert result.perplexity == pytest.approx(perplexity, nan_ok=True)
    assert result.metrics("test") == {"test_perplexity": None, "test_loss": saved}


def test_rows_of_metrics_carry_the_measure_that_reports_look_for():
    classes, tokens = Evaluation(0.25, 0.75, None), Evaluation(math.log(8), None, 8.0)
    assert classes.metrics("validation") == {"validation_accuracy": 0.75, "validation_loss": 0.25}
    assert tokens.metrics("test") == {"test_perplexity": 8.0, "test_loss": math.log(8)}
    assert quality_of([classes.metrics("validation")]) is ACCURACY
    assert quality_of([tokens.metrics("test")]) is PERPLEXITY


@pytest.mark.parametrize("batch_size", [1, 4, 32, 500])
@pytest.mark.parametrize(
    ("criterion", "shape"),
    [
        (cross_entropy, ()),
        (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0, 0.5])), ()),
        (cross_entropy, (3, 3)),
        (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0, 0.5])), (3, 3)),
    ],
)
def test_labels_that_are_left_out_do_not_count_at_any_batch_size(batch_size, criterion, shape):
    """The first half has no label that counts: it is a batch of its own in some of the cases."""
    generator = torch.Generator().manual_seed(4)
    outputs = torch.randn(64, 3, *shape, generator=generator)
    labels = torch.randint(3, (64, *shape), generator=generator)
    labels[:32] = IGNORED
    labels[40] = IGNORED
    counted = labels != IGNORED
    result = evaluate(nn.Identity(), TensorDataset(outputs, labels), criterion, device=CPU, batch_size=batch_size)
    assert result.loss == pytest.approx(float(criterion(outputs, labels)), rel=1e-6)
    assert result.accuracy == int((outputs.argmax(1) == labels)[counted].sum()) / int(counted.sum())


@pytest.mark.parametrize("max_tokens", [9, 27, 4096])
def test_images_with_a_class_for_every_pixel_are_divided_by_pixels(max_tokens):
    outputs, labels = torch.randn(8, 3, 3, 3), torch.randint(3, (8, 3, 3))
    sizes = []

    class Noting(nn.Identity):
        def forward(self, inputs):
            sizes.append(len(inputs))
            return inputs

    result = evaluate(Noting(), TensorDataset(outputs, labels), cross_entropy, device=CPU, max_tokens=max_tokens)
    assert max(sizes) == min(8, max_tokens // 9)
    assert result.accuracy == pytest.approx(float((outputs.argmax(1) == labels).float().mean()))


def test_measures_of_a_users_own_are_in_the_row():
    outputs, labels = torch.randn(11, 1), torch.randint(2, (11, 1)).float()

    def accuracy(outputs, labels):
        return ((outputs > 0) == (labels > 0.5)).float()

    measures = {"accuracy": accuracy, "broken": lambda _, __: math.nan}
    dataset, criterion = TensorDataset(outputs, labels), nn.BCEWithLogitsLoss()
    result = evaluate(nn.Identity(), dataset, criterion, device=CPU, batch_size=4, measures=measures)
    assert result.accuracy is None
    assert result.metrics("test") == {
        "test_loss": pytest.approx(float(criterion(outputs, labels)), rel=1e-6),
        "test_accuracy": pytest.approx(float(accuracy(outputs, labels).mean())),
        "test_broken": None,
    }


def test_a_regression_is_judged_by_its_loss():
    row = Evaluation(0.25, None, None).metrics("test")
    assert row == {"test_loss": 0.25}
    assert quality_of([row]).name == "loss"
    assert quality_of([{}]) is ACCURACY
