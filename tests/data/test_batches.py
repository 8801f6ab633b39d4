"""Which examples a local step sees, and how they become a batch."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset, default_collate

from heron.data import Batch, batch_indices, fetch, labels_of, num_examples, num_local_steps, shape_of_example
from heron.errors import DataError

SEEDS = st.integers(0, 2**64 - 1)


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


def batches(*plan):
    return [positions.tolist() for positions in batch_indices(*plan)]


def served(found):
    """Positions in the order in which they were served."""
    return [position for batch in found for position in batch]


def reference(num_examples, batch_size, num_steps, seed):
    """One example at a time: a new shuffle when none is left; a batch ends when full or at a pass's end."""
    generator = np.random.default_rng(seed)
    found, waiting = [], []
    while num_steps is None or len(found) < num_steps:
        if not waiting:
            if num_steps is None and found:
                break
            waiting = generator.permutation(num_examples).tolist()
        batch = []
        while waiting and len(batch) < batch_size:
            batch.append(waiting.pop(0))
        found.append(batch)
    return found


def pairs(num_examples=7):
    return TensorDataset(torch.arange(2 * num_examples).float().view(num_examples, 2), torch.arange(num_examples) * 10)


@given(n=st.integers(1, 60), size=st.integers(1, 70), steps=st.none() | st.integers(1, 40), seed=SEEDS)
def test_batches_are_those_of_the_literal_procedure(n, size, steps, seed):
    found = batches(n, size, steps, seed)
    assert found == reference(n, size, steps, seed)
    assert found == batches(n, size, steps, seed)
    assert len(found) == num_local_steps(n, size, steps)


@given(n=st.integers(1, 60), size=st.integers(1, 70), seed=SEEDS)
def test_one_pass_serves_every_example_once(n, size, seed):
    found = batches(n, size, None, seed)
    assert sorted(served(found)) == list(range(n))
    assert [len(batch) for batch in found] == [size] * (n // size) + [n % size] * (n % size > 0)


@given(n=st.integers(1, 30), size=st.integers(1, 40), steps=st.integers(1, 60), seed=SEEDS)
def test_every_pass_serves_every_example_once(n, size, steps, seed):
    order = served(batches(n, size, steps, seed))
    for start in range(0, len(order) - n + 1, n):
        assert sorted(order[start : start + n]) == list(range(n))
    rest = order[len(order) - len(order) % n :]
    assert len(set(rest)) == len(rest)


def test_by_hand():
    """Five examples in twos: 2, 2 and 1 end a pass; the fourth batch starts the next."""
    found = batches(5, 2, 4, 0)
    assert [len(batch) for batch in found] == [2, 2, 1, 2]
    assert sorted(served(found[:3])) == [0, 1, 2, 3, 4]


def test_every_pass_is_shuffled_anew():
    passes = batches(50, 50, 4, 0)  # the chance that two agree is 1 / 50!
    assert all(first != second for first, second in pairwise(passes))
    assert list(range(50)) not in passes


def test_the_order_depends_on_the_seed_alone():
    assert served(batches(20, 3, None, 8)) == served(batches(20, 7, None, 8)) == served(batches(20, 20, 1, 8))
    assert batches(20, 3, None, 8) != batches(20, 3, None, 9)
    state = torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()  # noqa: NPY002
    batches(20, 3, 9, 8)
    assert state == (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist())  # noqa: NPY002


@pytest.mark.parametrize("function", [lambda *plan: batch_indices(*plan, 0), num_local_steps])
@pytest.mark.parametrize(
    ("plan", "advice"),
    [
        ((0, 4, None), "lower clients.total"),
        ((0, 4, 3), "lower clients.total"),  # would never end
        ((-1, 4, None), "lower clients.total"),
        ((5, 0, None), "raise client.batch_size"),
        ((5, -2, None), "raise client.batch_size"),
        ((5, 2, 0), "raise client.local_steps"),
        ((5, 2, -1), "raise client.local_steps"),
    ],
)
def test_numbers_out_of_range_are_refused_at_the_call(function, plan, advice):
    with pytest.raises(DataError, match=rf"^expected [^\n]*at least 1 [^\n]*{advice}$"):
        function(*plan)


@pytest.mark.parametrize(
    ("plan", "expected"), [((10, 3, None), 4), ((9, 3, None), 3), ((2, 8, None), 1), ((2, 8, 5), 5)]
)
def test_num_local_steps(plan, expected):
    assert num_local_steps(*plan) == expected


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
