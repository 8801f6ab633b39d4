"""A scan looks at every example once, and finds those that stand out."""

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, Subset, TensorDataset

from heron.data import TokenSequences, labels_of
from heron.data.scan import scan
from heron.errors import DataError


class Listed(Dataset):
    """Items that are made when they are asked for."""

    def __init__(self, dataset):
        self.dataset = dataset
        self.asked = []

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, position):
        self.asked.append(position)
        return self.dataset[position]


def pairs(inputs, labels=None):
    return TensorDataset(inputs, torch.arange(len(inputs)) if labels is None else labels)


def arrays(dataset):
    return Listed([(inputs.numpy(), label) for inputs, label in dataset])


@pytest.mark.parametrize("wrap", [lambda data: data, Listed, arrays, lambda data: Subset(data, range(len(data)))])
def test_the_first_input_that_is_not_finite(wrap):
    inputs = torch.randn(3000, 2, 2)
    assert scan(wrap(pairs(inputs))).unusual == ()
    inputs[2500, 1, 1], inputs[2700] = torch.nan, -torch.inf
    assert scan(wrap(pairs(inputs))).unusual == (2500,)


def test_large_numbers_are_finite():
    assert scan(pairs(torch.full((5, 4), 3e38))).unusual == ()
    assert scan(pairs(torch.full((5, 4), 6e4, dtype=torch.float16))).unusual == ()


@pytest.mark.parametrize("wrap", [lambda data: data, Listed])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_the_smallest_and_the_largest_token(wrap, dtype):
    tokens = torch.full((3000, 4), 7).to(dtype)
    tokens[2900, 2], tokens[1100, 0] = 9, 2
    assert scan(wrap(pairs(tokens))).unusual == (1100, 2900)
    assert scan(wrap(pairs(tokens[:, 0]))).unusual == (1100, 0)


def test_token_sequences_are_scanned_as_they_are_padded():
    sequences = TokenSequences([([3], [4]), ([5, 6], [9, 2]), ([8], [3, 3])], pad=2)
    found = scan(sequences)
    assert found.labels.tolist() == labels_of(sequences).tolist()
    assert found.unusual == (0, 1)
    assert scan(Subset(sequences, [2])).unusual == (0,)


@pytest.mark.parametrize("labels", [torch.arange(5), torch.randn(5, 2), torch.arange(5) > 2])
def test_labels_are_those_of_labels_of_and_every_item_is_asked_for_once(labels):
    stored = pairs(torch.randn(5, 3), labels)
    listed = Listed(stored)
    np.testing.assert_array_equal(scan(listed).labels, labels_of(stored))
    assert listed.asked == list(range(5))
    np.testing.assert_array_equal(scan(Subset(listed, [3, 1])).labels, labels_of(stored)[[3, 1]])
    assert listed.asked == [*range(5), 3, 1]
    np.testing.assert_array_equal(scan(Subset(stored, [3, 1])).labels, labels_of(stored)[[3, 1]])


def test_labels_in_bfloat16_become_float32():
    labels = torch.tensor([0.5, 1.0], dtype=torch.bfloat16)
    assert scan(pairs(torch.zeros(2, 1), labels)).labels.tolist() == [0.5, 1.0]
    assert labels_of(pairs(torch.zeros(2, 1), labels)).dtype == np.float32


def test_nothing_to_scan():
    for empty in (pairs(torch.zeros(0, 3)), TensorDataset(torch.empty(0), torch.empty(0)), Listed([])):
        assert scan(empty).labels.shape == (0,)
        assert scan(empty).unusual == ()


def test_inputs_that_are_no_tensors_are_left_to_the_batch():
    assert scan(Listed([(1.0, 2), (3.0, 4)])).labels.tolist() == [2, 4]
    for items, message in ([{"x": 1, "y": 0}], "found dict"), ([(1, 2, 3)], "of length 3"):
        with pytest.raises(DataError, match=rf"expected items \(input, label\), {message}|{message}"):
            scan(Listed(items))
