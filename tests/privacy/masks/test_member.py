"""A client under masks: what a server can learn of it, and what it does not answer."""

import numpy as np
import pytest

from heron.errors import MessageError
from heron.privacy.masks import KeyPair, Member, member, recovery
from heron.privacy.masks.keys import PairKeys
from tests.privacy.masks.circles import ROUND, Table, secret_of, summed

VALUES = {one: np.arange(4, dtype=np.int64) * (one + 1) for one in range(6)}


def view(table: Table) -> list[bytes]:
    """All that reaches the server in a round."""
    seen = []
    for one in table.covered.values():
        seen += [one.masked_D.tobytes(), *one.sealed, *one.pair_marks, *one.share_marks, one.own_mark]
    for answers in table.answers().values():
        seen += answers
    return seen


@pytest.mark.parametrize("dropped", [(), (5,)])
def test_a_server_cannot_tell_two_worlds_with_the_same_sum_apart(dropped, monkeypatch) -> None:
    """Clients 1 and 2 swap what they add. If their common mask is another random one, every byte is the same.

    That mask is the output of a generator whose key is in none of these bytes, nor is the secret of either: so nobody
    who has all messages, and the secrets of all others, can tell the worlds apart without breaking the generator.
    """
    first = summed(VALUES, dropped)
    shift = (VALUES[1] - VALUES[2]).view(np.uint64)
    seen = view(first)
    pair = first.members[1]._pairs[2]
    joined = b"".join(seen)
    for hidden in (pair.mask, pair.channel, *(secret_of(one).reveal() for one in (1, 2))):
        assert hidden not in joined
    true_mask = member.mask_of

    def shifted(key: bytes, length: int) -> np.ndarray:
        return true_mask(key, length) + (shift if key == pair.mask else np.uint64(0))

    monkeypatch.setattr(member, "mask_of", shifted)
    second = summed(VALUES | {1: VALUES[2], 2: VALUES[1]}, dropped)
    assert view(second) == seen
    monkeypatch.undo()
    third = summed(VALUES | {1: VALUES[2], 2: VALUES[1]}, dropped)
    assert view(third) != seen
    assert np.array_equal(third.total(), first.total())


def test_without_its_own_mask_a_late_client_would_be_open(monkeypatch) -> None:
    """A message that arrives after its masks with others were told: its own mask still covers it."""
    late = summed(VALUES)
    kept = late.covered.pop(3)
    revealed = late.answers()
    open_D = kept.masked_D.copy()
    for peer in late.circle.neighbours(3):
        key = revealed[peer][late.circle.neighbours(peer).index(3)]
        mask_D = recovery.mask_of(key, 4)
        open_D = open_D - mask_D if peer > 3 else open_D + mask_D
    assert not np.array_equal(open_D.view(np.int64), VALUES[3])
    monkeypatch.setattr(member, "mask_of", lambda key, length: np.zeros(length, np.uint64))
    assert np.array_equal(summed(VALUES).covered[3].masked_D.view(np.int64), VALUES[3])


def test_one_list_of_the_missing_is_answered_and_no_second_one() -> None:
    table = summed(VALUES)
    arrived, shares = table.asked(0)
    assert table.members[0].reveal(arrived, shares) == table.members[0].reveal(arrived, shares)
    with pytest.raises(MessageError, match=r"client 0 in round 4: expected one list .*found a second one"):
        table.members[0].reveal([False, *arrived[1:]], shares)


def test_a_sum_of_too_few_is_not_told() -> None:
    table = summed(VALUES, [1, 2, 3, 4])
    with pytest.raises(MessageError, match="values of at least 2 of its 5 neighbours, found 1"):
        table.members[0].reveal(*table.asked(0))


def test_a_share_for_somebody_else_is_refused() -> None:
    table = summed(VALUES)
    arrived, shares = table.asked(0)
    with pytest.raises(MessageError, match="sealed for this client and round, found another one"):
        table.members[0].reveal(arrived, [shares[1], *shares[1:]])
    with pytest.raises(MessageError, match="expected to answer for 5 neighbours, found 4"):
        table.members[0].reveal(arrived[1:], shares[1:])


def test_masks_differ_from_round_to_round_and_both_agree_on_them() -> None:
    mine, other = KeyPair(bytes([1]) * 32), KeyPair(bytes([2]) * 32)
    found = [mine.agreed(other.public, round_index) for round_index in (0, 1)]
    assert found == [other.agreed(mine.public, round_index) for round_index in (0, 1)]
    assert len({key for pair in found for key in (pair.mask, pair.channel)}) == 4
    assert isinstance(found[0], PairKeys)
    with pytest.raises(MessageError, match="expected a public key of a client"):
        mine.agreed(bytes(32), 0)
    with pytest.raises(MessageError, match="expected a public key of a client"):
        mine.agreed(b"short", 0)


def test_a_client_alone_makes_no_masks() -> None:
    keys = KeyPair(secret_of(0).derived("mask key"))
    for peers in ({}, {1: keys.public}, {0: keys.public, 1: keys.public}):
        with pytest.raises(MessageError, match="expected masks with at least 2 other clients"):
            Member(0, ROUND, secret_of(0), keys, peers)
