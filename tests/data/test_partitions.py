"""Partitions of examples among clients."""

import random
import sys
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heron.data import PARTITIONS, partition
from heron.data.splits import library_seed
from heron.errors import DataError, MissingExtraError
from heron.seeds import derive_seed

LABELS = np.arange(200) % 5
GROUPS = np.arange(200) % 7 % 4  # four, of 57, 57, 57 and 29


def iid_reference(num_examples, num_clients, seed):
    """Shuffle, cut into runs of nearly equal length."""
    order = np.arange(num_examples)
    np.random.RandomState(library_seed("partition", seed)).shuffle(order)  # what scikit-learn draws from
    return [sorted(part.tolist()) for part in np.array_split(order, num_clients)]


def dirichlet_reference(labels, num_clients, alpha, seed):
    """Hsu et al., literally: each class is cut at the cumulated shares of its own draw; then no client stays empty."""
    generator = np.random.default_rng(library_seed("partition", seed))
    clients = [[] for _ in range(num_clients)]
    for label in sorted(set(labels.tolist())):
        members = [position for position, found in enumerate(labels) if found == label]
        shares = generator.dirichlet([alpha] * num_clients)
        start, cumulated = 0, 0.0
        for client_id, share in enumerate(shares):
            cumulated += share
            stop = len(members) if client_id == num_clients - 1 else int(cumulated * len(members))
            clients[client_id] += members[start:stop]
            start = stop
    clients = [sorted(client) for client in clients]
    for client in clients:
        if not client:
            largest = max(len(other) for other in clients)
            client.append(next(other for other in clients if len(other) == largest).pop())
    return clients


def assert_is_partition(shares, num_examples, num_clients):
    assert len(shares) == num_clients
    assert sorted(np.concatenate(shares).tolist()) == list(range(num_examples))  # disjoint, and all of them
    for share in shares:
        assert share.dtype == np.int64
        assert len(share) >= 1
        assert (np.diff(share) > 0).all()


def test_the_kinds():
    assert list(PARTITIONS) == ["iid", "dirichlet", "natural"]


@given(
    num_examples=st.integers(1, 200),
    data=st.data(),
    seed=st.integers(0, 2**64 - 1),
)
def test_iid_is_a_shuffle_cut_into_equal_runs(num_examples, data, seed):
    num_clients = data.draw(st.integers(1, num_examples))
    shares = partition("iid", np.zeros(num_examples), num_clients=num_clients, alpha=1.0, seed=seed)
    assert_is_partition(shares, num_examples, num_clients)
    sizes = [len(share) for share in shares]
    assert sizes.count(num_examples // num_clients + 1) == num_examples % num_clients
    assert max(sizes) - min(sizes) <= 1
    if num_clients > 1:
        assert [share.tolist() for share in shares] == iid_reference(num_examples, num_clients, seed)


@settings(max_examples=25, deadline=None)
@given(
    labels=st.lists(st.integers(0, 4), min_size=30, max_size=80),
    num_clients=st.integers(1, 20),
    alpha=st.floats(0.05, 100),
    seed=st.integers(0, 2**64 - 1),
)
def test_dirichlet_is_the_literal_procedure(labels, num_clients, alpha, seed):
    labels = np.array(labels)
    shares = partition("dirichlet", labels, num_clients=num_clients, alpha=alpha, seed=seed)
    assert_is_partition(shares, len(labels), num_clients)
    assert [share.tolist() for share in shares] == dirichlet_reference(labels, num_clients, alpha, seed)


def test_a_large_alpha_is_nearly_even_and_a_small_one_is_not():
    """A share of Dirichlet(alpha, ..., alpha) has variance (1/N)(1 - 1/N) / (N alpha + 1)."""
    num_clients, per_class, alpha = 4, 1000, 1000.0
    labels = np.arange(5 * per_class) % 5
    even = partition("dirichlet", labels, num_clients=num_clients, alpha=alpha, seed=0)
    deviation = (0.25 * 0.75 / (num_clients * alpha + 1)) ** 0.5
    for share in even:
        counts = np.bincount(labels[share], minlength=5)
        assert (abs(counts / per_class - 0.25) < 6 * deviation + 1 / per_class).all()
    skewed = partition("dirichlet", labels, num_clients=num_clients, alpha=0.1, seed=0)
    largest = [np.bincount(labels[share], minlength=5).max() / len(share) for share in skewed]
    assert np.mean(largest) > 0.4  # 0.2 would be even


@pytest.mark.parametrize("kind", PARTITIONS)
def test_it_is_a_function_of_its_arguments(kind):
    def draw(seed, alpha=1.0):
        return [s.tolist() for s in partition(kind, LABELS, num_clients=4, alpha=alpha, seed=seed, groups=GROUPS)]

    assert draw(3) == draw(3)
    assert (draw(3) == draw(4)) == (kind == "natural")
    assert (draw(3) == draw(3, alpha=2.0)) == (kind != "dirichlet")


@pytest.mark.parametrize("kind", PARTITIONS)
@pytest.mark.parametrize("run_seed", range(8))
def test_every_derived_seed_works(kind, run_seed):
    """Callers pass a seed made by `derive_seed`, of 64 unsigned bits."""
    seed = derive_seed("partition", run_seed)
    assert_is_partition(partition(kind, LABELS, num_clients=3, alpha=1.0, seed=seed, groups=GROUPS), 200, 3)


@pytest.mark.parametrize("kind", PARTITIONS)
@pytest.mark.parametrize("seed", [0, 2**63 - 1, 2**63, 2**64 - 1])
def test_one_client_holds_everything(kind, seed):
    (share,) = partition(kind, LABELS, num_clients=1, alpha=1.0, seed=seed, groups=GROUPS)
    assert share.tolist() == list(range(200))


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.int64, np.bool_])
def test_dirichlet_takes_every_integer_type(dtype):
    labels = (np.arange(60) % 2).astype(dtype)
    expected = partition("dirichlet", labels.astype(np.int64), num_clients=3, alpha=1, seed=0)
    found = partition("dirichlet", labels, num_clients=3, alpha=np.float32(1), seed=0)
    assert [s.tolist() for s in found] == [s.tolist() for s in expected]


@pytest.mark.parametrize("kind", PARTITIONS)
def test_process_wide_generators_are_left_alone(kind):
    partition(kind, LABELS, num_clients=4, alpha=1.0, seed=1, groups=GROUPS)  # first use imports libraries
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    partition(kind, LABELS, num_clients=4, alpha=1.0, seed=0, groups=GROUPS)
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    assert before == after


def test_an_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(
        DataError, match=r"^unknown partition 'shards'; set clients\.partition to one of: iid, dirichlet, natural$"
    ):
        partition("shards", LABELS, num_clients=2, alpha=1.0, seed=0)


@pytest.mark.parametrize("kind", PARTITIONS)
@pytest.mark.parametrize("alpha", [0, -1.0, float("nan"), float("inf")])
def test_an_alpha_out_of_range_is_refused(kind, alpha):
    with pytest.raises(DataError, match=r"^expected a finite alpha > 0, found [^\n]*clients\.alpha[^\n]*$"):
        partition(kind, LABELS, num_clients=2, alpha=alpha, seed=0)


@pytest.mark.parametrize("kind", PARTITIONS)
@pytest.mark.parametrize("num_clients", [0, -3])
def test_no_clients_are_refused(kind, num_clients):
    with pytest.raises(DataError, match=r"^expected at least 1 client, found [^\n]*clients\.total$"):
        partition(kind, LABELS, num_clients=num_clients, alpha=1.0, seed=0)


@pytest.mark.parametrize("kind", PARTITIONS)
@pytest.mark.parametrize(("num_examples", "num_clients"), [(3, 4), (0, 1)])
def test_more_clients_than_examples_are_refused(kind, num_examples, num_clients):
    with pytest.raises(DataError, match=rf"^client with no data: {num_clients} clients share {num_examples} examples"):
        partition(kind, np.zeros(num_examples, int), num_clients=num_clients, alpha=1.0, seed=0)


def test_nobody_is_left_empty_and_nothing_is_said(capfd):
    """20 clients at alpha 0.01 and five classes: about one client a class is given anything by the draw."""
    with warnings.catch_warnings(record=True) as talk:
        warnings.simplefilter("always")
        shares = partition("dirichlet", LABELS, num_clients=20, alpha=0.01, seed=0)
    assert_is_partition(shares, len(LABELS), 20)
    assert sum(len(share) == 1 for share in shares) > 10
    assert talk == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("labels", [np.zeros((20, 3), dtype=int), np.zeros(20), np.array(["a"] * 20)])
def test_labels_that_are_no_classes_are_refused_by_dirichlet_only(labels):
    with pytest.raises(DataError, match=r"^expected one integer class an example[^\n]*; use iid or natural$"):
        partition("dirichlet", labels, num_clients=2, alpha=1.0, seed=0)
    assert_is_partition(partition("iid", labels, num_clients=2, alpha=1.0, seed=0), 20, 2)


@pytest.mark.parametrize("absent", ["flwr_datasets.partitioner", "datasets"])
def test_dirichlet_without_its_library(absent, monkeypatch):
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(MissingExtraError, match=r"flwr-datasets.*heron-sfl\[partitions\]"):
        partition("dirichlet", LABELS, num_clients=2, alpha=1.0, seed=0)
    partition("iid", LABELS, num_clients=2, alpha=1.0, seed=0)


def natural(groups, num_clients, seed=0):
    groups = np.asarray(groups)
    return partition("natural", np.zeros(len(groups)), num_clients=num_clients, alpha=1.0, seed=seed, groups=groups)


def natural_reference(groups, num_clients):
    """The largest group goes to the client that holds least, one after the other; of equals, the first."""
    waiting = sorted(set(groups), key=lambda group: (-groups.count(group), group))
    clients = [[] for _ in range(num_clients)]
    for group in waiting:
        poorest = min(range(num_clients), key=lambda client_id: (len(clients[client_id]), client_id))
        clients[poorest] += [position for position, found in enumerate(groups) if found == group]
    return [sorted(client) for client in clients]


@settings(deadline=None)
@given(groups=st.lists(st.integers(-3, 12), min_size=1, max_size=80), data=st.data(), seed=st.integers(0, 2**64 - 1))
def test_natural_shares_out_whole_groups(groups, data, seed):
    num_clients = data.draw(st.integers(1, len(set(groups))))
    shares = natural(groups, num_clients, seed)
    assert_is_partition(shares, len(groups), num_clients)
    held = [{groups[position] for position in share} for share in shares]
    assert sum(len(owned) for owned in held) == len(set(groups))  # no other client holds a part of a group
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= max(groups.count(group) for group in groups)
    assert [share.tolist() for share in shares] == natural_reference(groups, num_clients)


def test_natural_by_hand():
    """Groups of 4, 3, 2 and 1 for two clients: 4 + 1 and 3 + 2."""
    shares = natural([7, 5, 5, 5, 7, 7, 7, 2, 2, 9], 2)
    assert [share.tolist() for share in shares] == [[0, 4, 5, 6, 9], [1, 2, 3, 7, 8]]


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.int64])
def test_natural_takes_every_integer_type(dtype):
    groups = np.arange(60) % 7
    assert [s.tolist() for s in natural(groups.astype(dtype), 3)] == [s.tolist() for s in natural(groups, 3)]


def test_natural_without_groups_is_refused():
    with pytest.raises(
        DataError, match=r"^expected data with groups for clients\.partition natural, found none; [^\n]*$"
    ):
        partition("natural", LABELS, num_clients=2, alpha=1.0, seed=0)


def test_fewer_groups_than_clients_are_refused():
    assert len(natural(GROUPS, 4)) == 4
    with pytest.raises(
        DataError,
        match=r"^client with no data: 5 clients share 4 whole groups; lower clients\.total to at most 4[^\n]*$",
    ):
        natural(GROUPS, 5)


@pytest.mark.parametrize("groups", [np.zeros(199, int), np.zeros((200, 1), int), np.zeros(200), np.array(["a"] * 200)])
def test_groups_that_number_nothing_are_refused_by_natural_only(groups):
    with pytest.raises(DataError, match=r"^expected one integer group for each of 200 examples, found [^\n]*$"):
        partition("natural", LABELS, num_clients=1, alpha=1.0, seed=0, groups=groups)
    partition("iid", LABELS, num_clients=1, alpha=1.0, seed=0, groups=groups)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_clients": 2.5}, "num_clients: expected an integer, found 2.5"),
        ({"num_clients": "3"}, "num_clients: expected an integer, found '3'"),
        ({"alpha": "0.5"}, "alpha: expected a number, found '0.5'"),
        ({"seed": 1.5}, "seed: expected an integer, found 1.5"),
        ({"kind": None}, "unknown partition None; "),
        ({"kind": ["iid"]}, "unknown partition ['iid']; "),
    ],
)
def test_arguments_of_another_type_are_refused(changes, message):
    given = {"kind": "iid", "labels": np.arange(9), "num_clients": 3, "alpha": 0.5, "seed": 0} | changes
    with pytest.raises(DataError) as caught:
        partition(given.pop("kind"), given.pop("labels"), **given)
    assert message in str(caught.value)


def test_labels_may_be_a_list():
    shares = partition("iid", list(range(9)), num_clients=3, alpha=1, seed=0)
    expected = partition("iid", np.arange(9), num_clients=3, alpha=1.0, seed=0)
    assert [share.tolist() for share in shares] == [share.tolist() for share in expected]
