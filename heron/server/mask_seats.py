"""The clients of a round's sums as their server knows them: public keys, and one circle for each seed group."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from heron.arrays import to_host
from heron.errors import MessageError
from heron.privacy.masks import LEAST_MEMBERS, Circle
from heron.privacy.masks.keys import NUM_BYTES
from heron.wire.mask_messages import KeyRequest, MaskAnswer, MaskRequest, PublicKey
from heron.wire.masked_sums import peer_rows, rows_of
from heron.wire.walks import schedule_of

Ask = Callable[[Sequence[MaskRequest]], dict[int, MaskAnswer]]
"""Function that asks clients about their masks."""


class MaskSeats:
    """Keys and circles of the clients of one run.

    Args:
        run_seed: seed of the run, which decides who sits next to whom.
        seed_groups: number of groups, each of which has a sum of its own.

    Attributes:
        keys: public keys by client.
        circles: of the round, by seed group.
    """

    def __init__(self, run_seed: int, seed_groups: int) -> None:
        self._run_seed = run_seed
        self._seed_groups = seed_groups
        self.keys: dict[int, bytes] = {}
        self.circles: dict[int, Circle] = {}

    def acquaint(self, ask: Ask, round_index: int, clients: list[int]) -> list[int]:
        """Ask clients that are new for their public keys.

        Args:
            ask: asks clients (`heron.wire.Link.ask`).
            round_index: t, from 0.
            clients: ascending.

        Returns:
            Those whose keys are known now.

        Raises:
            MessageError: if what one has sent is no key.
        """
        strangers = [KeyRequest(round_index, client_id) for client_id in clients if client_id not in self.keys]
        for client_id, answer in ask(strangers).items() if strangers else ():
            if isinstance(answer, PublicKey):
                self.keys[client_id] = read_key(answer)
        return [client_id for client_id in clients if client_id in self.keys]

    def seatable(self, clients: list[int]) -> list[int]:
        """Return those whose groups are so large that a sum reveals nothing of a single client.

        Args:
            clients: ascending.
        """
        groups = self._by_group(clients).values()
        return sorted(one for members in groups if len(members) >= LEAST_MEMBERS for one in members)

    def seat(self, clients: list[int]) -> None:
        """Make the circles of a round of these clients.

        Args:
            clients: ascending; their keys are known.
        """
        groups = self._by_group(clients)
        self.circles = {group: Circle(members, self._run_seed) for group, members in groups.items()}

    def circle_of(self, client_id: int) -> Circle | None:
        """Return the circle that a client sits in; None if it has no seat."""
        circle = self.circles.get(schedule_of(client_id, self._seed_groups))
        return circle if circle is not None and client_id in circle.members else None

    def neighbours(self, client_id: int) -> tuple[int, ...]:
        """Return those with whom a client has masks, ascending; none if it has no seat."""
        circle = self.circle_of(client_id)
        return () if circle is None else circle.neighbours(client_id)

    def roster(self, client_id: int) -> NDArray[np.uint8]:
        """Write numbers and public keys of a client's neighbours, shape (k, 40)."""
        return peer_rows({peer: self.keys[peer] for peer in self.neighbours(client_id)})

    def _by_group(self, clients: list[int]) -> dict[int, list[int]]:
        groups: dict[int, list[int]] = {}
        for client_id in clients:
            groups.setdefault(schedule_of(client_id, self._seed_groups), []).append(client_id)
        return groups


def read_key(answer: PublicKey) -> bytes:
    """Read the key of an answer that came over a wire.

    Raises:
        MessageError: if it is none.
    """
    key, who = to_host(answer.key), f"public key of client {answer.client_id}"
    if key.ndim != 1:
        raise MessageError(f"{who}: expected {NUM_BYTES} bytes, found shape {key.shape[:8]}")
    return rows_of(key.reshape(1, -1), (1, NUM_BYTES), who)[0]
