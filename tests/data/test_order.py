"""Order of a client's examples."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from heron.data import batch_indices, num_batched, num_local_steps
from heron.errors import DataError

SEEDS = st.integers(0, 2**64 - 1)


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


@given(n=st.integers(1, 60), size=st.integers(1, 20), steps=st.none() | st.integers(1, 40), seed=SEEDS)
def test_a_last_batch_of_one_example_joins_the_one_before(n, size, steps, seed):
    found = [batch.tolist() for batch in batch_indices(n, size, steps, seed, joins=True)]
    assert len(found) == num_local_steps(n, size, steps, joins=True)
    for count in range(1, len(found) + 1):
        assert num_batched(n, size, count, joins=True) == sum(map(len, found[:count]))
    if n <= size or size == 1 or n % size != 1:
        assert found == batches(n, size, steps, seed)
        return
    sizes = [size] * (n // size - 1) + [size + 1]
    assert [len(batch) for batch in found] == (sizes * len(found))[: len(found)]
    order = served(found)
    assert order == served(batches(n, size, None if steps is None else 2 * len(found), seed))[: len(order)]


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


def test_order_and_batches_need_no_torch():
    code = (
        "import sys, heron.data; from heron.data import Batch, batch_indices, num_batched, num_local_steps; "
        "import numpy; assert len(Batch(numpy.zeros((3, 2)), numpy.zeros(3))) == 3; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
