"""The part of a client's side that adds up under masks: its neighbours out of a broadcast, and its covered reply."""

from dataclasses import replace

import numpy as np

from heron.client.mask_keeper import MaskKeeper
from heron.errors import MessageError
from heron.privacy.masks.keys import MARK_BYTES, SEALED_BYTES
from heron.wire.learning import Learning
from heron.wire.mask_messages import MARKS, ROSTER, SEALED
from heron.wire.masked_sums import SumForm, peers_of, to_rows
from heron.wire.messages import Broadcast, Reply, ScalarReply
from heron.wire.terms import Terms


class Masks:
    """Masks of the clients of this process.

    Args:
        terms: of the run.
        learning: how its clients learn.
        keeper: has their keys, and remembers what they have covered.

    Attributes:
        keeper: likewise.
    """

    def __init__(self, terms: Terms, learning: Learning, keeper: MaskKeeper) -> None:
        self._form = SumForm.of(terms, learning)
        self._weighting = terms.settings.clients.weighting
        self.keeper = keeper

    def opened(self, broadcast: Broadcast) -> Broadcast:
        """Take the neighbours out of a broadcast; the rest is a broadcast like any other.

        Raises:
            MessageError: if they are not there, are too few, or are not those of before.
        """
        client_id, round_index = broadcast.client_id, broadcast.round_index
        who = f"broadcast to client {client_id} in round {round_index + 1}"
        roster = broadcast.model.get(ROSTER)
        if roster is None or len(roster.shape) != 2:
            raise MessageError(f"{who}: expected the clients that it has masks with, found none; set secure_sum=false")
        self.keeper.enter(round_index, client_id, peers_of(roster, who))
        rest = {name: array for name, array in broadcast.model.items() if name != ROSTER}
        return replace(broadcast, model=rest)

    def covered(self, reply: Reply) -> ScalarReply:
        """Put the contents of a reply under masks, its loss and its number of examples with them.

        Raises:
            TrainingError: if a value is not finite, or too large to be added up.
            MessageError: if other values were covered in this round.
        """
        assert isinstance(reply, ScalarReply)  # other settings are refused
        weight = 1 if self._weighting == "equal" else reply.num_examples
        loss = float(reply.train_loss)
        values_D = self._form.packed(reply.projected_gradients, reply.model, loss=loss, weight=weight)
        covered = self.keeper.cover(reply.round_index, reply.client_id, values_D)
        marks = [*covered.pair_marks, *covered.share_marks, covered.own_mark]
        model = {SEALED: to_rows(list(covered.sealed), SEALED_BYTES), MARKS: to_rows(marks, MARK_BYTES)}
        nothing = np.array(np.nan, np.float32)
        values = covered.masked_D.view(np.int64)
        return ScalarReply(reply.round_index, reply.client_id, 1, reply.num_steps, nothing, values, model)
