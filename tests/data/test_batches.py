"""Examples of a data set as a batch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset, default_collate

from heron.data import Batch, fetch, labels_of, num_examples, shape_of_example
from heron.errors import DataError


class Listed(Dataset):
    """A user's own data set."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, position):
        return self.items[position]


class Negated(TensorDataset):
    """A data set that changes what it returns, as augmentation does."""

    def __getitem__(self, position):
        inputs, label = super().__getitem__(position)
        return -inputs, label + 100


def pairs(num_examples=7):
    return TensorDataset(torch.arange(2 * num_examples).float().view(num_examples, 2), torch.arange(num_examples) * 10)


@given(data=st.data(), n=st.integers(1, 8))
def test_fetch_is_the_collation_of_the_items(data, n):
    shape = data.draw(st.lists(st.integers(1, 3), max_size=3))
    fast = TensorDataset(torch.randn(n, *shape, generator=torch.Generator().manual_seed(n)), torch.arange(n))
    indices = np.array(data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=10)))
    inputs, labels = default_collate([fast[int(i)] for i in indices])
    for dataset in (fast, Listed([fast[i] for i in range(n)]), Subset(fast, range(n))):
        batch = fetch(dataset, indices)
        assert torch.equal(batch.inputs, inputs)
        assert torch.equal(batch.labels, labels)
        assert batch.labels.dtype == torch.int64
        assert len(batch) == len(indices)


def test_a_subset_of_a_subset():
    dataset = Subset(Subset(pairs(), [6, 5, 4, 3]), [0, 2])  # examples 6 and 4
    batch = fetch(dataset, np.array([1, 0, 1]))
    assert batch.labels.tolist() == [40, 60, 40]
    assert batch.inputs.tolist() == [[8, 9], [12, 13], [8, 9]]
    assert labels_of(dataset).tolist() == [60, 40]


def test_a_subset_may_count_from_the_end():
    dataset = Subset(pairs(), [-1, 0])
    assert fetch(dataset, np.array([1, 0])).labels.tolist() == [int(dataset[position][1]) for position in (1, 0)]


def test_rows_have_the_layout_of_their_tensor():
    """Convolutions in another layout round in another way."""
    inputs = torch.randn(5, 3, 2, 2).to(memory_format=torch.channels_last)
    batch = fetch(TensorDataset(inputs, torch.arange(5)), np.array([4, 1]))
    assert torch.equal(batch.inputs, inputs[[4, 1]])
    assert batch.inputs.is_contiguous(memory_format=torch.channels_last)


def test_what_a_subclass_returns_is_respected():
    """Reading the tensors of such a data set would silently skip its augmentation."""
    dataset = Negated(*pairs(3).tensors)
    batch = fetch(dataset, np.array([2]))
    assert batch.inputs.tolist() == [[-4, -5]]
    assert batch.labels.tolist() == [120]
    assert labels_of(dataset).tolist() == [100, 110, 120]

    class Doubled(Subset):
        def __getitem__(self, position):
            inputs, label = super().__getitem__(position)
            return 2 * inputs, label

        def __getitems__(self, positions):
            return [self[position] for position in positions]

    assert fetch(Doubled(pairs(), [3]), np.array([0])).inputs.tolist() == [[12, 14]]


@pytest.mark.parametrize("items", [[(np.ones(2, "f4"), 1)], [[1.5, np.int64(1)]], [(torch.ones(2), torch.tensor(1))]])
def test_fetch_takes_arrays_and_numbers(items):
    batch = fetch(Listed(items), np.array([0, 0]))
    assert batch.inputs.shape[0] == 2
    assert batch.labels.tolist() == [1, 1]
    assert labels_of(Listed(items)).tolist() == [1]


@pytest.mark.parametrize("dataset", [pairs(), Listed([(torch.ones(2), 1)] * 3)])
def test_fetch_moves_to_the_device(dataset):
    batch = fetch(dataset, np.array([0, 1]), torch.device("meta"))
    assert batch.inputs.device.type == batch.labels.device.type == "meta"
    assert fetch(dataset, np.array([0, 1])).inputs.device.type == "cpu"


def test_a_batch_cannot_be_changed():
    batch = Batch(torch.zeros(3, 2), torch.zeros(3))
    with pytest.raises(AttributeError):
        batch.inputs = torch.ones(3, 2)


@pytest.mark.parametrize(
    ("item", "found"),
    [
        (5, "int"),
        ("ab", "str"),
        ({"x": 1, "y": 2}, "dict"),
        (torch.zeros(2), "Tensor"),
        ((1, 2, 3), "tuple of length 3"),
        ([1], "list of length 1"),
        (None, "NoneType"),
    ],
)
def test_items_that_are_no_pairs_are_refused(item, found):
    dataset = Listed([item, item])
    for use in (
        lambda: fetch(dataset, np.array([0, 1])),
        lambda: labels_of(dataset),
        lambda: shape_of_example(dataset),
    ):
        with pytest.raises(DataError, match=rf"^expected items \(input, label\), found {found}; wrap [^\n]*$"):
            use()


def test_a_tensor_data_set_without_pairs_is_refused():
    for tensors in ([torch.zeros(3)], [torch.zeros(3)] * 3):
        with pytest.raises(DataError, match=r"found tuple of length [13]"):
            fetch(TensorDataset(*tensors), np.array([0]))


@pytest.mark.parametrize(
    ("items", "complaint"),
    [
        ([(torch.zeros(2), 0), (torch.zeros(3), 1)], "inputs do not stack: "),
        ([(torch.zeros(2), 0), (torch.zeros(2), torch.zeros(4))], "labels do not stack: "),
        ([(object(), 0), (object(), 1)], "inputs do not stack: "),
        ([(torch.zeros(2), None), (torch.zeros(2), None)], "labels do not stack: "),
        ([("a", 0), ("b", 1)], "expected inputs that stack, found str; "),
        ([({"ids": 1}, 0), ({"ids": 2}, 1)], "expected inputs that stack, found dict; "),
        ([(1, "cat"), (2, "dog")], "expected labels that stack, found str; "),
    ],
)
def test_items_that_do_not_stack_are_refused(items, complaint):
    with pytest.raises(DataError, match=rf"^{complaint}[^\n]*return tensors[^\n]*$"):
        fetch(Listed(items), np.array([0, 1]))


def test_the_error_of_a_users_own_data_set_is_not_disguised():
    with pytest.raises(KeyError, match="absent"):
        fetch(type("Broken", (Listed,), {"__getitem__": lambda self, i: {}["absent"]})([0]), np.array([0]))


def test_no_positions_are_refused():
    with pytest.raises(DataError, match=r"^expected at least one position to fetch, found none; [^\n]*$"):
        fetch(Listed([(1, 2)]), np.array([], dtype=np.int64))


def test_labels_of():
    assert labels_of(pairs(3)).tolist() == [0, 10, 20]
    assert labels_of(Listed([(torch.zeros(2), 4), (torch.zeros(9), 1)])).tolist() == [4, 1]  # inputs need not stack
    assert labels_of(Subset(Listed([(0, 4), (0, 1), (0, 2)]), [2, 0])).tolist() == [2, 4]
    assert labels_of(TensorDataset(torch.zeros(2, 3), torch.zeros(2, 3))).shape == (2, 3)
    empty = labels_of(Listed([]))
    assert (empty.shape, empty.dtype) == ((0,), np.int64)


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (pairs(), (2,)),
        (Subset(pairs(), [3]), (2,)),
        (Listed([(torch.zeros(3, 4), 0)]), (3, 4)),
        (Listed([(1.5, 0)]), ()),
    ],
)
def test_shape_of_example(dataset, expected):
    assert shape_of_example(dataset) == torch.Size(expected)


@pytest.mark.parametrize("dataset", [Listed([]), TensorDataset(torch.empty(0, 2), torch.empty(0)), Subset(pairs(), [])])
def test_an_empty_data_set_has_no_shape(dataset):
    with pytest.raises(DataError, match=r"^expected a data set with at least one example[^\n]*$"):
        shape_of_example(dataset)


def test_num_examples():
    assert num_examples(pairs(4)) == 4
    endless = type("Endless", (IterableDataset,), {"__iter__": lambda self: iter([(1, 2)])})()
    for use in (num_examples, labels_of, shape_of_example):
        with pytest.raises(
            DataError, match=r"^expected a map-style data set with a length, found Endless; give it [^\n]*$"
        ):
            use(endless)
