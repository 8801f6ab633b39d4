"""A sum under masks is the plain sum, bit for bit, whoever drops out; a wrong or missing answer is named."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heron.errors import MessageError
from heron.privacy.masks.circle import least_shares
from tests.privacy.masks.circles import Table, seated, summed


def values_of(members: list[int], length: int, seed: int = 0) -> dict[int, np.ndarray]:
    draw = np.random.default_rng(seed)
    return {one: draw.integers(-(2**61), 2**61, length, dtype=np.int64) for one in members}


def plain_sum(values: dict[int, np.ndarray], dropped: list[int]) -> np.ndarray:
    """Modulo 2^64, in Python's integers."""
    columns = zip(*(one.tolist() for client_id, one in values.items() if client_id not in dropped), strict=True)
    return np.array([(sum(column) + 2**63) % 2**64 - 2**63 for column in columns], np.int64)


@given(
    members=st.lists(st.integers(0, 10**6), min_size=3, max_size=9, unique=True),
    length=st.integers(1, 20),
    seed=st.integers(0, 2**16),
    data=st.data(),
)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_a_sum_is_the_plain_sum_whoever_drops_out(members, length, seed, data) -> None:
    most = len(members) - 1 - least_shares(len(members) - 1)
    dropped = data.draw(st.lists(st.sampled_from(members), max_size=most, unique=True))
    values = values_of(members, length, seed)
    assert np.array_equal(summed(values, dropped).total(), plain_sum(values, dropped))


@pytest.mark.slow
def test_thirty_of_a_hundred_may_drop_out() -> None:
    values = values_of(list(range(100)), 50)
    for seed in range(3):
        dropped = np.random.default_rng(seed).choice(100, 30, replace=False).tolist()
        table = summed(values, dropped)
        assert {len(table.circle.neighbours(one)) for one in values} == {48}
        assert np.array_equal(table.total(), plain_sum(values, dropped))


def test_what_travels_is_uniform_and_no_ones_values() -> None:
    """Zeros of seven clients: bytes of a covered vector are as frequent as those of random ones."""
    table = summed({one: np.zeros(4096, np.int64) for one in range(7)})
    for one in table.covered.values():
        counts = np.bincount(one.masked_D.view(np.uint8), minlength=256)
        assert abs(((counts - 128) ** 2 / 128).sum() - 255) < 6 * np.sqrt(2 * 255)
    assert not table.total().any()


def broken(table: Table, revealed: dict, client_id: int, peer: int) -> None:
    place = table.circle.neighbours(client_id).index(peer)
    revealed[client_id][place] = bytes(32)


def test_a_wrong_share_is_named() -> None:
    table = summed(values_of(list(range(5)), 3), [4])
    revealed = table.answers()
    broken(table, revealed, 2, 0)
    with pytest.raises(MessageError, match="what client 2 was given for client 0, found another answer"):
        table.total(revealed)


def test_a_wrong_key_is_named() -> None:
    table = summed(values_of(list(range(5)), 3), [4])
    revealed = table.answers()
    broken(table, revealed, 3, 4)
    with pytest.raises(MessageError, match="what client 3 was given for client 4, found another answer"):
        table.total(revealed)


def test_a_client_that_is_lost_while_it_is_asked_costs_a_sum_with_missing_values_and_no_other() -> None:
    values = values_of(list(range(6)), 3)
    table = summed(values)
    revealed = table.answers()
    del revealed[1]
    assert np.array_equal(table.total(revealed), plain_sum(values, []))
    table = summed(values, [5])
    revealed = table.answers()
    del revealed[1]
    with pytest.raises(MessageError, match="client 1 to tell the mask that it has with client 5"):
        table.total(revealed)


def test_too_few_shares_are_named() -> None:
    table = summed(values_of(list(range(6)), 3))
    revealed = table.answers()
    for client_id in (1, 2, 3, 4):
        del revealed[client_id]
    with pytest.raises(MessageError, match="shares of client 0 from at least 2 of its 5 neighbours, found 1"):
        table.total(revealed)


def test_two_clients_with_different_masks_are_named() -> None:
    values = values_of(list(range(4)), 3)
    table, other = summed(values), seated([0, 1, 2, 3])
    table.covered[2] = other.members[2].cover(values[2])
    assert np.array_equal(table.total(), plain_sum(values, []))  # the same secret: the same masks
    marks = list(table.covered[2].pair_marks)
    marks[0] = bytes(16)
    object.__setattr__(table.covered[2], "pair_marks", tuple(marks))
    with pytest.raises(MessageError, match="clients 0 and 2 to have the same mask, found two"):
        table.total()


def test_shares_of_another_mask_are_named() -> None:
    table = summed(values_of(list(range(4)), 3))
    object.__setattr__(table.covered[1], "own_mark", bytes(16))
    with pytest.raises(MessageError, match="shares of client 1 to be those of its mask, found others"):
        table.total()
