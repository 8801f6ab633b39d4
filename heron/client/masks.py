"""The part of a client's side that adds up under masks: who its neighbours are, its covered reply, its answers."""

from dataclasses import replace

import numpy as np

from heron.arrays import to_host
from heron.errors import MessageError
from heron.privacy.masks import KeyPair, Member
from heron.privacy.masks.keys import MARK_BYTES, NUM_BYTES, SEALED_BYTES
from heron.privacy.vault import Vault
from heron.wire.learning import Learning
from heron.wire.mask_messages import (
    MARKS,
    ROSTER,
    SEALED,
    KeyRequest,
    MaskAnswer,
    MaskRequest,
    PublicKey,
    Unmasked,
)
from heron.wire.masked_sums import SumForm, rows_of, to_rows
from heron.wire.messages import Broadcast, Reply, ScalarReply
from heron.wire.terms import Terms

_KEY = "mask key"
_NUMBER_BYTES = 8


class Masks:
    """Masks of the clients of this process.

    Args:
        terms: of the run.
        learning: how its clients learn.
        vault: keeps the secret that keys and masks are drawn from.
    """

    def __init__(self, terms: Terms, learning: Learning, vault: Vault) -> None:
        self._form = SumForm.of(terms, learning)
        self._weighting = terms.settings.clients.weighting
        self._vault = vault
        self._keys: dict[tuple[str, int], KeyPair] = {}
        self._members: dict[int, tuple[int, Member]] = {}

    def opened(self, broadcast: Broadcast) -> Broadcast:
        """Take the neighbours out of a broadcast; the rest is a broadcast like any other.

        Raises:
            MessageError: if they are not there, or are too few.
        """
        client_id, round_index = broadcast.client_id, broadcast.round_index
        who = f"broadcast to client {client_id} in round {round_index}"
        roster = broadcast.model.get(ROSTER)
        if roster is None or len(roster.shape) != 2:
            raise MessageError(f"{who}: expected the clients that it has masks with, found none; set secure_sum=false")
        rows = rows_of(roster, (roster.shape[0], _NUMBER_BYTES + NUM_BYTES), who)
        peers = {int.from_bytes(row[:_NUMBER_BYTES], "little"): row[_NUMBER_BYTES:] for row in rows}
        secret = self._vault.secret.of(client_id)
        member = Member(client_id, round_index, secret, self._key_pair(client_id), peers)
        self._members[client_id] = (round_index, member)
        rest = {name: array for name, array in broadcast.model.items() if name != ROSTER}
        return replace(broadcast, model=rest)

    def covered(self, reply: Reply) -> ScalarReply:
        """Put what a reply tells under masks; it tells neither a loss nor a number of examples any longer.

        Raises:
            TrainingError: if a value is not finite, or too large to be added up.
        """
        assert isinstance(reply, ScalarReply)  # other settings are refused
        weight = 1 if self._weighting == "equal" else reply.num_examples
        loss = float(reply.train_loss)
        values_D = self._form.packed(reply.projected_gradients, reply.model, loss=loss, weight=weight)
        covered = self._member(reply.round_index, reply.client_id).cover(values_D)
        marks = [*covered.pair_marks, *covered.share_marks, covered.own_mark]
        told = {SEALED: to_rows(list(covered.sealed), SEALED_BYTES), MARKS: to_rows(marks, MARK_BYTES)}
        place = (reply.round_index, reply.client_id)
        nothing = np.array(np.nan, np.float32)
        return ScalarReply(*place, 1, reply.num_steps, nothing, covered.masked_D.view(np.int64), told)

    def answer(self, request: MaskRequest) -> MaskAnswer:
        """Answer a question of the Fed Server.

        Raises:
            MessageError: if it is of another round, damaged, or must not be answered.
        """
        place = (request.round_index, request.client_id)
        if isinstance(request, KeyRequest):
            return PublicKey(*place, np.frombuffer(self._key_pair(request.client_id).public, np.uint8))
        member, who = self._member(*place), f"client {request.client_id} in round {request.round_index}"
        arrived = to_host(request.arrived)
        if arrived.dtype != np.bool_ or arrived.ndim != 1:
            raise MessageError(f"{who}: expected whether each reply has arrived, found {arrived.dtype}")
        sealed = rows_of(request.sealed, (len(arrived), SEALED_BYTES), who)
        return Unmasked(*place, to_rows(member.reveal(arrived.tolist(), sealed), NUM_BYTES))

    def _member(self, round_index: int, client_id: int) -> Member:
        held_round, member = self._members.get(client_id, (-1, None))
        if member is None or held_round != round_index:
            raise MessageError(
                f"client {client_id} in round {round_index}: expected to be asked about masks of a round that it takes "
                f"part in, found another one"
            )
        return member

    def _key_pair(self, client_id: int) -> KeyPair:
        place = (self._vault.secret.digest(), client_id)
        if place not in self._keys:
            self._keys[place] = KeyPair(self._vault.secret.of(client_id).derived(_KEY))
        return self._keys[place]
