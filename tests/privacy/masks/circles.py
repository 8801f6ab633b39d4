"""A sum under masks from end to end, without messages: what the clients send, and what a server makes of it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heron.privacy import Secret
from heron.privacy.masks import Circle, Covered, KeyPair, Member, unmasked_sum
from heron.privacy.masks.keys import SEALED_BYTES

ROUND = 3


@dataclass
class Table:
    """The clients of a sum, and what of theirs has reached the server."""

    circle: Circle
    members: dict[int, Member]
    covered: dict[int, Covered]

    def asked(self, client_id: int) -> tuple[list[bool], list[bytes]]:
        """The server's question to a client: whose values have arrived, and their sealed shares."""
        peers = self.circle.neighbours(client_id)
        shares = [
            self.covered[peer].sealed[self.circle.neighbours(peer).index(client_id)]
            if peer in self.covered
            else bytes(SEALED_BYTES)
            for peer in peers
        ]
        return [peer in self.covered for peer in peers], shares

    def answers(self) -> dict[int, list[bytes]]:
        """The answers of all clients whose values have arrived."""
        return {client_id: self.members[client_id].reveal(*self.asked(client_id)) for client_id in self.covered}

    def total(self, revealed: Mapping[int, Sequence[bytes]] | None = None) -> NDArray[np.int64]:
        return unmasked_sum(self.circle, self.covered, self.answers() if revealed is None else revealed)


def secret_of(client_id: int) -> Secret:
    return Secret(bytes([7]) * 32).of(client_id)


def seated(members: Collection[int], *, run_seed: int = 0) -> Table:
    """Clients that have agreed on their masks."""
    circle = Circle(sorted(members), run_seed)
    pairs = {client_id: KeyPair(secret_of(client_id).derived("mask key")) for client_id in members}
    made = {
        client_id: Member(
            client_id,
            ROUND,
            secret_of(client_id),
            pairs[client_id],
            {peer: pairs[peer].public for peer in circle.neighbours(client_id)},
        )
        for client_id in members
    }
    return Table(circle, made, {})


def summed(values: Mapping[int, NDArray[np.int64]], dropped: Collection[int] = ()) -> Table:
    """Clients of which all but some have sent their values."""
    table = seated(values)
    table.covered = {one: table.members[one].cover(values[one]) for one in values if one not in dropped}
    return table
