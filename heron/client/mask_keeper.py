"""A client's keys and its state in the sum of a round: all that has to outlive a message, and what it answers with it.

Values are covered once in a round: a second time only the same ones, under the same masks, so that a message which was
lost can be repeated and no two values under one mask can be subtracted. For the same reason no earlier round is
entered, and the clients with whom a client has masks stay the same once it has covered its values.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from heron.arrays import to_host
from heron.errors import MessageError, WithheldError
from heron.privacy.masks import Covered, KeyPair, Member
from heron.privacy.masks.keys import NUM_BYTES, SEALED_BYTES
from heron.privacy.secret import Secret
from heron.wire.mask_messages import KeyRequest, MaskAnswer, MaskRequest, PublicKey, Unmasked
from heron.wire.masked_sums import peer_rows, rows_of, to_rows

_KEY, _COVERED, _UNMASKING = "mask key", "sum", "unmasking"
_PERSON = b"heron/masks/v1"


@dataclass(frozen=True)
class MaskState:
    """State of a client in its sum in a round: all that it remembers of it.

    Attributes:
        round_index: t, from 0.
        peers: public keys of its neighbours, by their numbers.
        covered: digest of the values that it has covered; empty before.
        arrived: for each neighbour whether its values had arrived, as the client has answered; None before.
    """

    round_index: int
    peers: Mapping[int, bytes]
    covered: bytes = b""
    arrived: tuple[bool, ...] | None = None


class MaskMemory(Protocol):
    """Keeper of the state of each client; of one round, the latest."""

    def mask_state(self, client_id: int) -> MaskState | None:
        """Return what a client remembers; None for nothing."""
        ...

    def keep_mask_state(self, client_id: int, state: MaskState) -> None:
        """Remember a state, in place of an earlier one."""
        ...


@dataclass
class LocalMemory:
    """Memory of a process in which whole rounds take place."""

    states: dict[int, MaskState] = field(default_factory=dict)

    def mask_state(self, client_id: int) -> MaskState | None:
        """Return what a client remembers; None for nothing."""
        return self.states.get(client_id)

    def keep_mask_state(self, client_id: int, state: MaskState) -> None:
        """Remember a state, in place of an earlier one."""
        self.states[client_id] = state


Commit = Callable[[int, str, bytes], None]
"""Function that notes what a subject of a round is, once and for all, and refuses another one."""


class MaskKeeper:
    """Keys and states of the clients of this process.

    Args:
        secret_of: returns the secret that keys and masks of a client are drawn from.
        memory: what outlives a message.
        commit: writes notes that outlive even the memory.
    """

    def __init__(
        self, secret_of: Callable[[int], Secret], memory: MaskMemory, commit: Commit = lambda *_: None
    ) -> None:
        self._secret_of = secret_of
        self._memory = memory
        self._commit = commit
        self._keys: dict[tuple[str, int], KeyPair] = {}
        self._members: dict[int, tuple[tuple[str, int, Mapping[int, bytes]], Member]] = {}

    def enter(self, round_index: int, client_id: int, peers: Mapping[int, bytes]) -> None:
        """Take part in the sum of a round.

        Args:
            round_index: t, from 0.
            client_id: i, from 0.
            peers: public keys of its neighbours, by their numbers.

        Raises:
            WithheldError: if the round is an earlier one than the client has been in, or it has covered values for
                other neighbours.
            MessageError: if there are too few neighbours, or one has no key.
        """
        held, who = self._memory.mask_state(client_id), _who(round_index, client_id)
        if held is not None and round_index < held.round_index:
            raise WithheldError(
                f"{who}: expected a round from {held.round_index + 1} on, in which it has had masks, found an earlier "
                f"one: other values under the same masks would be open; start a new run"
            )
        if held is not None and round_index == held.round_index and (held.covered or held.peers == peers):
            if held.peers != peers:
                raise WithheldError(
                    f"{who}: expected the clients that it has masks with in this round, found others: it has covered "
                    f"its values for them; start a new run"
                )
            return
        state = MaskState(round_index, dict(peers))
        self._member(client_id, state)
        self._memory.keep_mask_state(client_id, state)

    def cover(self, round_index: int, client_id: int, values_D: NDArray[np.int64]) -> Covered:
        """Put values under the masks of a round.

        Args:
            round_index: t, from 0.
            client_id: i, from 0.
            values_D: in fixed point, shape (D,).

        Raises:
            WithheldError: if the client has covered other ones in this round.
        """
        state = self._state(round_index, client_id)
        digest = hashlib.blake2b(values_D.tobytes(), digest_size=NUM_BYTES, person=_PERSON).digest()
        if state.covered not in (b"", digest):
            raise WithheldError(
                f"{_who(round_index, client_id)}: expected the values that it has covered in this round, found others, "
                f"because it has lost what it kept: under the same masks both would be open; it takes part in the next "
                f"round again"
            )
        # Before anything leaves.
        self._commit(round_index, f"{_COVERED}/{client_id}", peer_rows(state.peers).tobytes() + digest)
        self._memory.keep_mask_state(client_id, replace(state, covered=digest))
        return self._member(client_id, state).cover(values_D)

    def covered(self, round_index: int, client_id: int) -> bytes:
        """Return the digest of the values that a client has covered in a round; empty if it remembers none."""
        state = self._memory.mask_state(client_id)
        return state.covered if state is not None and state.round_index == round_index else b""

    def answer(self, request: MaskRequest) -> MaskAnswer:
        """Answer a question of the Fed Server.

        Raises:
            MessageError: if it is of another round, damaged, or must not be answered.
            WithheldError: if it was answered with something else before.
        """
        round_index, client_id = request.round_index, request.client_id
        if isinstance(request, KeyRequest):
            return PublicKey(round_index, client_id, np.frombuffer(self._key_pair(client_id).public, np.uint8))
        state, who = self._state(round_index, client_id), _who(round_index, client_id)
        if not state.covered:
            raise MessageError(f"{who}: expected to be asked after its reply, found a question before it")
        flags = to_host(request.arrived)
        if flags.dtype != np.bool_ or flags.ndim != 1:
            raise MessageError(f"{who}: expected whether each reply has arrived, found {flags.dtype}")
        sealed, arrived = rows_of(request.sealed, (len(flags), SEALED_BYTES), who), tuple(flags.tolist())
        revealed = self._member(client_id, state).reveal(arrived, sealed)
        # Before anything leaves.
        self._commit(round_index, f"{_UNMASKING}/{client_id}", bytes(arrived))
        self._memory.keep_mask_state(client_id, replace(state, arrived=arrived))
        return Unmasked(round_index, client_id, to_rows(revealed, NUM_BYTES))

    def _state(self, round_index: int, client_id: int) -> MaskState:
        state = self._memory.mask_state(client_id)
        if state is None or state.round_index != round_index:
            raise MessageError(
                f"{_who(round_index, client_id)}: expected to be asked about masks of a round that it takes part in, "
                f"found another one"
            )
        return state

    def _member(self, client_id: int, state: MaskState) -> Member:
        """The client in its sum: agreeing on keys takes time, so it is kept as long as nothing changes."""
        secret = self._secret_of(client_id)
        known = (secret.digest(), state.round_index, state.peers)
        held = self._members.get(client_id)
        if held is None or held[0] != known:
            keys = self._key_pair(client_id)
            member = Member(client_id, state.round_index, secret, keys, state.peers, state.arrived)
            self._members[client_id] = held = (known, member)
        return held[1]

    def _key_pair(self, client_id: int) -> KeyPair:
        secret = self._secret_of(client_id)
        known = (secret.digest(), client_id)
        if known not in self._keys:
            self._keys[known] = KeyPair(secret.derived(_KEY))
        return self._keys[known]


def _who(round_index: int, client_id: int) -> str:
    return f"client {client_id} in round {round_index + 1}"
