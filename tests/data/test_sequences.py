"""Ragged token sequences: items, padded batches, and how the rest of the data code reads them."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Subset

from heron.data import IGNORED, TokenSequences, fetch, labels_of, num_examples, partition, shape_of_example
from heron.errors import DataError

TOKENS = st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=6)
EXAMPLES = st.lists(st.tuples(TOKENS, TOKENS), min_size=1, max_size=8)
PAD = 99


def reference_item(prompt, continuation):
    """One token after the other: what comes next is a target if it is not of the prompt."""
    tokens = prompt + continuation
    inputs, labels = [], []
    for t in range(len(tokens) - 1):
        inputs.append(tokens[t])
        labels.append(tokens[t + 1] if t + 1 >= len(prompt) else -100)
    return inputs, labels


def reference_batch(items, pad):
    longest = max(len(inputs) for inputs, _ in items)
    inputs = [inputs + [pad] * (longest - len(inputs)) for inputs, _ in items]
    labels = [labels + [-100] * (longest - len(labels)) for _, labels in items]
    return inputs, labels


def small():
    return TokenSequences([([1, 2, 3], [4, 5]), ([6], [7]), ([8, 9], [10, 11, 12, 13])], pad=PAD)


def test_by_hand():
    inputs, labels = small()[0]
    assert inputs.tolist() == [1, 2, 3, 4]
    assert labels.tolist() == [-100, -100, 4, 5]
    assert [part.tolist() for part in small()[1]] == [[6], [7]]
    inputs, labels = small().batch(np.array([1, 0]))
    assert inputs.tolist() == [[6, PAD, PAD, PAD], [1, 2, 3, 4]]
    assert labels.tolist() == [[7, -100, -100, -100], [-100, -100, 4, 5]]


@given(examples=EXAMPLES, pad=st.integers(0, 2**31 - 1), data=st.data())
def test_items_and_batches_are_those_of_the_literal_procedure(examples, pad, data):
    sequences = TokenSequences(examples, pad=pad)
    items = [reference_item(*example) for example in examples]
    for (inputs, labels), (expected_inputs, expected_labels) in zip(sequences, items, strict=True):
        assert inputs.tolist() == expected_inputs
        assert labels.tolist() == expected_labels
        assert inputs.dtype == labels.dtype == torch.int64
    positions = data.draw(st.lists(st.integers(0, len(examples) - 1), min_size=1, max_size=6))
    batch = sequences.batch(np.array(positions))
    assert tuple(part.tolist() for part in batch) == reference_batch([items[p] for p in positions], pad)
    assert all(part.dtype == torch.int64 and part.is_contiguous() for part in batch)


@given(examples=EXAMPLES, pad=st.integers(0, 2**31 - 1))
def test_sizes(examples, pad):
    sequences = TokenSequences(iter(examples), pad=pad)
    assert len(sequences) == num_examples(sequences) == len(examples)
    assert sequences.lengths.tolist() == [len(inputs) for inputs, _ in sequences]
    assert sequences.num_tokens == 1 + max([pad, *(token for pair in examples for part in pair for token in part)])


@given(examples=EXAMPLES)
def test_a_batch_has_one_label_for_each_continuation_token(examples):
    """The sum of the loss over a batch counts each of them once, however it is padded."""
    _, labels = TokenSequences(examples, pad=0).batch(np.arange(len(examples)))
    assert [row[row != IGNORED].tolist() for row in labels] == [continuation for _, continuation in examples]


@given(examples=EXAMPLES, data=st.data())
def test_fetch_is_batch_also_through_subsets(examples, data):
    sequences = TokenSequences(examples, pad=PAD)
    kept = data.draw(st.lists(st.integers(0, len(examples) - 1), min_size=1))
    positions = np.array(data.draw(st.lists(st.integers(0, len(kept) - 1), min_size=1, max_size=6)))
    whole = np.array(kept)[positions]
    for found in (
        fetch(sequences, whole),
        fetch(Subset(sequences, kept), positions),
        fetch(Subset(Subset(sequences, range(len(examples))), kept), positions),
    ):
        assert torch.equal(found.inputs, sequences.batch(whole)[0])
        assert torch.equal(found.labels, sequences.batch(whole)[1])
        assert len(found) == len(positions)


def test_fetch_moves_to_the_device():
    batch = fetch(small(), np.array([0, 1]), torch.device("meta"))
    assert batch.inputs.device.type == batch.labels.device.type == "meta"


def test_labels_and_shape():
    labels = labels_of(small())
    assert labels.tolist() == [[-100, -100, 4, 5, -100], [7, *[-100] * 4], [-100, 10, 11, 12, 13]]
    assert labels_of(Subset(small(), [2, 0])).tolist() == [labels[2].tolist(), labels[0].tolist()]
    assert shape_of_example(small()) == torch.Size([4])
    assert shape_of_example(Subset(small(), [2])) == torch.Size([5])


def test_partitions_that_need_no_classes():
    labels = labels_of(small())
    shares = partition("iid", labels, num_clients=3, alpha=1.0, seed=0)
    assert sorted(np.concatenate(shares).tolist()) == [0, 1, 2]
    shares = partition("natural", labels, num_clients=2, alpha=1.0, seed=0, groups=np.array([5, 3, 5]))
    assert [share.tolist() for share in shares] == [[0, 2], [1]]
    with pytest.raises(DataError, match=r"^expected one integer class an example [^\n]*; use iid or natural$"):
        partition("dirichlet", labels, num_clients=2, alpha=1.0, seed=0)


def test_an_empty_data_set():
    empty = TokenSequences([], pad=3)
    assert len(empty) == 0
    assert list(empty) == []
    assert empty.num_tokens == 4
    assert labels_of(empty).shape == (0,)
    with pytest.raises(DataError, match="at least one example"):
        shape_of_example(empty)


def test_positions_outside_are_refused():
    for position in (3, -4, 100):
        with pytest.raises(IndexError):
            small()[position]
    assert torch.equal(small()[-1][0], small()[2][0])
    with pytest.raises(DataError, match=r"^expected at least one position to fetch, found none; [^\n]*$"):
        fetch(small(), np.array([], dtype=np.int64))


def test_what_is_returned_is_not_a_view_of_the_data():
    sequences = small()
    for part in sequences[0]:
        part.fill_(0)
    assert sequences[0][0].tolist() == [1, 2, 3, 4]


def test_tokens_are_held_in_32_bits_and_no_more():
    examples = [(list(range(50)), list(range(50)))] * 1000
    tensors = [part for part in vars(TokenSequences(examples, pad=0)).values() if hasattr(part, "nbytes")]
    assert sum(part.nbytes for part in tensors) < 1000 * (4 * 100 + 40)


def test_it_can_be_sent_to_another_process():
    for twin in (copy.deepcopy(small()), pickle.loads(pickle.dumps(small()))):
        assert torch.equal(twin.batch(np.arange(3))[0], small().batch(np.arange(3))[0])


@pytest.mark.parametrize(
    ("example", "complaint"),
    [
        (([], [1]), "at least 1 token in the prompt of example 1, found none"),
        (([1], []), "at least 1 token in the continuation of example 1, found none"),
        (([1, -1], [1]), "tokens in .* in the prompt of example 1, found -1"),
        (([1], [2**31]), "tokens in .* in the continuation of example 1, found something else"),
        (([1.5], [1]), "tokens in .* in the prompt of example 1, found something else"),
        (("ab", [1]), "tokens in .* in the prompt of example 1, found something else"),
    ],
)
def test_bad_tokens_are_refused(example, complaint):
    with pytest.raises(DataError, match=rf"^expected {complaint}[^\n]*; [^\n]*check the tokenizer$"):
        TokenSequences([([1], [2]), example], pad=0)


@pytest.mark.parametrize("pad", [-1, 2**31, None])
def test_bad_padding_is_refused(pad):
    with pytest.raises(DataError, match=r"^expected tokens in \[0, 2\*\*31\) in the padding, found [^\n]*$"):
        TokenSequences([([1], [2])], pad=pad)
