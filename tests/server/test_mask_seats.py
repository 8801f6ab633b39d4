"""Who has a seat in a round's sums: clients whose keys are known, in groups that hide each of them."""

import numpy as np
import pytest

from heron.errors import MessageError
from heron.privacy.masks.keys import NUM_BYTES
from heron.server.mask_seats import MaskSeats, read_key
from heron.wire.mask_messages import PublicKey


def key_of(client_id: int) -> bytes:
    return bytes([client_id + 1] * NUM_BYTES)


class Clients:
    """Clients that send their keys, but for some that are silent."""

    def __init__(self, silent: tuple[int, ...] = ()) -> None:
        self.silent = silent
        self.asked: list[int] = []

    def ask(self, requests):
        self.asked += [request.client_id for request in requests]
        return {
            each.client_id: PublicKey(each.round_index, each.client_id, np.frombuffer(key_of(each.client_id), np.uint8))
            for each in requests
            if each.client_id not in self.silent
        }


def test_each_client_is_asked_for_its_key_once() -> None:
    seats, clients = MaskSeats(0, 1), Clients(silent=(2,))
    assert seats.acquaint(clients.ask, 0, [0, 1, 2]) == [0, 1]
    assert seats.keys == {0: key_of(0), 1: key_of(1)}
    clients.silent = ()
    assert seats.acquaint(clients.ask, 1, [0, 1, 2]) == [0, 1, 2]
    assert clients.asked == [0, 1, 2, 2]


def test_groups_of_fewer_than_three_have_no_seats() -> None:
    seats = MaskSeats(0, 2)
    everybody = list(range(8))
    seats.seat(everybody)
    members = {group: list(circle.members) for group, circle in seats.circles.items()}
    assert len(members) == 2
    first, second = members.values()
    assert seats.seatable(sorted([*first, *second[:2]])) == first
    assert seats.seatable(sorted([*first[:3], *second[:3]])) == sorted([*first[:3], *second[:3]])
    assert seats.seatable(second[:2]) == []


def test_a_roster_has_the_keys_of_ones_neighbours_and_of_nobody_else() -> None:
    seats = MaskSeats(0, 1)
    seats.acquaint(Clients().ask, 0, [0, 1, 2, 5])
    seats.seat([0, 2, 5])
    assert seats.neighbours(2) == (0, 5)
    rows = [bytes(row) for row in seats.roster(2)]
    assert rows == [peer.to_bytes(8, "little") + key_of(peer) for peer in (0, 5)]
    assert seats.circle_of(1) is None
    assert seats.neighbours(1) == ()


@pytest.mark.parametrize("key", [np.zeros((2, NUM_BYTES), np.uint8), np.zeros(NUM_BYTES - 1, np.uint8)])
def test_what_is_no_key_is_refused_by_name(key) -> None:
    with pytest.raises(MessageError, match="public key of client 3: expected"):
        read_key(PublicKey(0, 3, key))
