"""Accuracy is that of classes, whatever shapes come by chance; a user's measure is a mean over examples."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from heron.errors import ConfigError
from heron.runs.measures import Accuracy, Means, check_names
from heron.split.criterion import MeanLoss


def own(outputs, labels):
    return cross_entropy(outputs, labels)


def accuracy(outputs, labels, criterion=cross_entropy):
    measure = Accuracy(MeanLoss(criterion))
    measure.add(outputs, labels)
    return measure.value()


def one_hot(classes, num_classes, dimension=1):
    """Outputs of a network that is right everywhere."""
    return nn.functional.one_hot(classes, num_classes).float().movedim(-1, dimension)


@pytest.mark.parametrize(
    ("sizes", "num_classes"),
    [((6,), 3), ((4, 5), 3), ((4, 3), 3), ((4, 3, 5), 2), ((2, 3, 3), 3), ((4, 4, 4), 4)],
)
def test_classes_are_over_dimension_1_even_where_other_dimensions_have_their_size(sizes, num_classes):
    labels = torch.randint(num_classes, sizes, generator=torch.Generator().manual_seed(0))
    outputs = one_hot(labels, num_classes)
    assert accuracy(outputs, labels) == 1.0
    wrong = labels.clone()
    wrong.view(-1)[0] = (wrong.view(-1)[0] + 1) % num_classes
    assert accuracy(outputs, wrong) == 1 - 1 / labels.numel()


def test_a_criterion_of_ones_own_may_have_classes_last_unless_both_fit():
    labels = torch.randint(3, (4, 5), generator=torch.Generator().manual_seed(0))
    assert accuracy(one_hot(labels, 3, dimension=-1), labels, own) == 1.0
    assert accuracy(one_hot(labels, 3), labels, own) == 1.0
    square = labels[:, :3]
    assert accuracy(one_hot(square, 3, dimension=-1), square, own) is None
    assert accuracy(one_hot(labels[:, 0], 3), labels[:, 0], own) == 1.0


@pytest.mark.parametrize(
    ("outputs", "labels"),
    [
        (torch.zeros(4, 1), torch.zeros(4, 1)),  # one logit
        (torch.zeros(4, 1), torch.zeros(4, dtype=torch.int64)),  # one output, which is always the largest
        (torch.zeros(4, 3), torch.zeros(4, 3)),  # regression, class probabilities, several labels
        (torch.zeros(4, 3), torch.zeros(4, 3, dtype=torch.int64)),
        (torch.zeros(4), torch.zeros(4, dtype=torch.int64)),
        (torch.zeros(4, 3, 5, 5), torch.zeros(4, 3, 5, 5)),  # an autoencoder
        (torch.zeros(4, 3, 5, 5), torch.zeros(4, 5, 6, dtype=torch.int64)),
        (torch.zeros(4, 3), torch.tensor([0, 1, 2, 17])),  # counts, not classes
        ((torch.zeros(4, 3),), torch.zeros(4, dtype=torch.int64)),  # token outputs are no tensor
    ],
)
def test_other_labels_have_no_accuracy(outputs, labels):
    assert accuracy(outputs, labels, own) is None
    assert accuracy(outputs, labels, mse_loss) is None


def test_labels_that_are_left_out_are_neither_right_nor_wrong():
    labels = torch.tensor([0, -100, 1, -100, 0])
    outputs = one_hot(torch.tensor([0, 0, 1, 1, 1]), 2)
    assert accuracy(outputs, labels) == 2 / 3
    assert accuracy(outputs, torch.where(labels < 0, 255, labels), nn.CrossEntropyLoss(ignore_index=255)) == 2 / 3
    assert accuracy(outputs, torch.full((5,), -100)) is None


def test_a_measure_is_a_mean_over_examples_however_they_are_batched():
    def of_each(outputs, labels):
        return (outputs - labels).abs().sum(1)

    def of_all(outputs, labels):
        return float((outputs - labels).abs().sum()) / len(labels)

    outputs, labels = torch.randn(7, 2), torch.randn(7, 2)
    means = Means({"of_each": of_each, "of_all": of_all})
    for rows in (slice(0, 4), slice(4, 7)):
        means.add(outputs[rows], labels[rows])
    expected = float((outputs - labels).abs().sum(1).mean())
    assert means.values() == {"of_each": pytest.approx(expected), "of_all": pytest.approx(expected)}


def test_what_is_no_measure_is_refused_by_name():
    for name in ("", "a b", "loss", 3):
        with pytest.raises(ConfigError, match="expected names of measures such as 'f1', found"):
            check_names({name: own})
    with pytest.raises(ConfigError, match=r"measure 'f1': expected a function of .*, found float; pass one"):
        check_names({"f1": 0.5})
    for measure in (lambda _, __: 1 / 0, lambda _, __: "good", lambda _: 1.0, lambda _, __: None):
        with pytest.raises(ConfigError, match="measure 'f1': expected a number, or one for each of 4 examples, found"):
            Means({"f1": measure}).add(torch.zeros(4, 2), torch.zeros(4))
