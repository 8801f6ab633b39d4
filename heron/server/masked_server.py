"""A Fed Server that learns sums of scalars and nothing else of what one client did: `secure_sum`.

The clients of a seed group are a circle (`heron.privacy.masks`). Before a round the server asks those that are new for
their public keys, with a broadcast it sends each client its neighbours' keys, and after the replies it asks what it
needs to take the masks of those that replied away. A round whose sum cannot be told ends without an update.

`P` scalars of a full round, `k` neighbours of a client.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from torch import Tensor

from heron.arrays import dtype_name, numpy_dtype, to_host
from heron.errors import MessageError
from heron.privacy.masks import Circle, Covered, unmasked_sum
from heron.privacy.masks.keys import MARK_BYTES, NUM_BYTES, SEALED_BYTES
from heron.privacy.masks.recovery import check_pairs
from heron.server.mask_seats import MaskSeats
from heron.server.scalar_server import ScalarFedServer
from heron.tensors import as_tensor
from heron.wire import Broadcast, Link, ModelBroadcast, Reply, ScalarReply
from heron.wire.learning import Learning
from heron.wire.mask_messages import MARKS, ROSTER, SEALED, Unmasked, Unmasking
from heron.wire.masked_sums import Addends, SumForm, rows_of, to_rows
from heron.wire.terms import Terms
from heron.wire.walks import Walk

_KEYS = "mask_keys"


class MaskedFedServer(ScalarFedServer):
    """Fed Server of seed groups whose replies are under masks that cancel in the sum of a group.

    Args:
        terms: names and roles of the tensors that travel, and the settings of the mean.
        tensors: their initial values by name; copied.
        learning: settings of the clients' learning, whose steps are replayed.

    Attributes:
        seats: the clients' keys, and who sits with whom.
        no_update: why the latest round ended without an update; empty if it did not.
    """

    def __init__(self, terms: Terms, tensors: Mapping[str, Tensor], learning: Learning) -> None:
        super().__init__(terms, tensors, learning)
        self._form = SumForm.of(terms, learning)
        self.no_update = ""
        self._tells_loss = not terms.settings.privacy.is_on
        self.seats = MaskSeats(terms.settings.seed, learning.settings.seed_groups)
        self._covered: dict[int, Covered] = {}
        self._sums: dict[int, Addends] = {}

    def prepare(self, link: Link, round_index: int, participants: list[int]) -> None:
        """Ask clients that are new for their keys, and seat the participants in circles, one for each seed group."""
        super().prepare(link, round_index, participants)
        self._covered, self._sums, self.no_update = {}, {}, ""
        known = self.seats.acquaint(link.ask, round_index, participants)
        for client_id in sorted(set(participants) - set(known)):
            raise MessageError(f"client {client_id} in round {round_index + 1}: expected its public key, found none")
        self.seats.seat(participants)

    def forget_keys(self) -> None:
        """Forget public keys, so that everybody is asked again."""
        self.seats.keys = {}

    def broadcast(self, round_index: int, client_id: int) -> Broadcast:
        """A broadcast as without masks, and the keys of the client's neighbours."""
        message = super().broadcast(round_index, client_id)
        return replace(message, model={**message.model, ROSTER: self.seats.roster(client_id)})

    def snapshot(self, round_index: int, client_id: int) -> ModelBroadcast:
        """A broadcast for a client of unknown state, and the keys of its neighbours."""
        message = super().snapshot(round_index, client_id)
        return replace(message, model={**message.model, ROSTER: self.seats.roster(client_id)})

    def check(self, reply: Reply) -> None:
        """Refuse what `accept` would refuse, without changing anything."""
        self._read(reply)

    def accept(self, reply: Reply) -> None:
        """Keep what a client sends until the end of the round.

        Raises:
            MessageError: if it is not of the agreed form.
        """
        self._covered[reply.client_id] = self._read(reply)
        self._log.acknowledge(reply.client_id, reply.round_index)

    def settle(self, link: Link) -> None:
        """Ask the clients that replied for what takes their masks away, and add up; warn if a sum cannot be told."""
        arrived = {
            group: {one: self._covered[one] for one in circle.members if one in self._covered}
            for group, circle in self.seats.circles.items()
        }
        arrived = {group: covered for group, covered in arrived.items() if covered}
        try:
            self._check_pairs(arrived)  # before anything is told
            revealed = self._revealed(link, arrived)
            self._sums = {
                group: self._form.unpacked(unmasked_sum(self.seats.circles[group], covered, revealed))
                for group, covered in arrived.items()
            }
        except MessageError as error:
            self._sums = {}
            self.faults, self.no_update = {"secure_sum": 1}, str(error)
            warnings.warn(f"round {self._round_index + 1}: no update: {error}", stacklevel=2)

    def average(self) -> tuple[float, int]:
        """Take the steps along the summed scalars; without sums keep everything.

        Raises:
            TrainingError: if theta is no longer finite.
        """
        sums, num_replies = self._sums, len(self._covered) if self._sums else 0
        self._walks, self._losses = [], []
        if sums:
            dtype = np.promote_types(numpy_dtype(dtype_name(next(iter(self.theta.values())))), np.float32)
            weight = sum(one.weight for one in sums.values())
            # In the order of the clients' numbers, as without masks.
            self._walks = [Walk(group, 1, (one.scalars_P / weight).astype(dtype)) for group, one in sums.items()]
            tensors = self._form.mean_tensors(list(sums.values()), weight)
            self._mean.add({name: as_tensor(array, self.model[name].device) for name, array in tensors.items()}, 1.0)
        loss = sum(one.loss for one in sums.values()) / num_replies if sums and self._tells_loss else float("nan")
        super().average()
        self._covered, self._sums = {}, {}
        return loss, num_replies

    def save_point(self) -> Callable[[], None]:
        """Return a function that undoes all later changes."""
        undo_rest, keys = super().save_point(), dict(self.seats.keys)

        def undo() -> None:
            undo_rest()
            self.seats.keys, self._covered, self._sums = keys, {}, {}

        return undo

    def state(self) -> dict[str, dict[str, Tensor]]:
        """State that the next round depends on: groups of tensors by name."""
        keys = {client_id: np.frombuffer(key, np.uint8).copy() for client_id, key in self.seats.keys.items()}
        return super().state() | {_KEYS: {str(client_id): as_tensor(key) for client_id, key in keys.items()}}

    def load_state(self, groups: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Continue from a result of `state`."""
        super().load_state(groups)
        self.seats.keys = {int(name): to_host(key).tobytes() for name, key in groups.get(_KEYS, {}).items()}

    def _merged(self, walks: list[Walk]) -> list[Walk]:
        return walks  # sums of groups, divided by the weight of all

    def _read(self, reply: Reply) -> Covered:
        who = f"reply of client {reply.client_id} in round {reply.round_index + 1}"
        circle = self.seats.circle_of(reply.client_id)
        if circle is None:
            raise MessageError(f"{who}: expected one of a participant, found another one")
        if not isinstance(reply, ScalarReply) or reply.model.keys() != {SEALED, MARKS}:
            raise MessageError(f"{who}: expected sums under masks, found something else; both sides need secure_sum")
        masked_D, k = to_host(reply.projected_gradients), len(circle.neighbours(reply.client_id))
        if masked_D.dtype != np.int64 or masked_D.shape != (self._form.length,):
            raise MessageError(
                f"{who}: expected {self._form.length} values under masks as int64, found {masked_D.dtype} "
                f"{masked_D.shape[:8]}"
            )
        sealed = rows_of(reply.model[SEALED], (k, SEALED_BYTES), who)
        marks = rows_of(reply.model[MARKS], (2 * k + 1, MARK_BYTES), who)
        if reply.num_examples != 1:
            raise MessageError(
                f"{who}: expected num_examples of 1 with privacy or secure_sum, found {reply.num_examples}; update the "
                f"client"
            )
        if not np.isnan(float(reply.train_loss)):
            raise MessageError(f"{who}: expected no local loss with secure_sum, found one; update the client")
        return Covered(masked_D.view(np.uint64), tuple(sealed), tuple(marks[:k]), tuple(marks[k : 2 * k]), marks[-1])

    def _check_pairs(self, arrived: Mapping[int, Mapping[int, Covered]]) -> None:
        """Refuse masks that will not cancel; a client whose secret is another one now is asked for its key again."""
        try:
            for group, covered in arrived.items():
                check_pairs(self.seats.circles[group], covered)
        except MessageError:
            self.forget_keys()
            raise

    def _revealed(self, link: Link, arrived: Mapping[int, Mapping[int, Covered]]) -> dict[int, list[bytes]]:
        """Ask all clients whose values have arrived what takes the masks away."""
        requests = [
            self._unmasking(self.seats.circles[group], covered, client_id)
            for group, covered in arrived.items()
            for client_id in covered
        ]
        answers = link.ask(requests) if requests else {}
        return {
            client_id: rows_of(
                answer.revealed,
                (len(self.seats.neighbours(client_id)), NUM_BYTES),
                f"answer of client {client_id} in round {self._round_index + 1}",
            )
            for client_id, answer in answers.items()
            if isinstance(answer, Unmasked)
        }

    def _unmasking(self, circle: Circle, covered: Mapping[int, Covered], client_id: int) -> Unmasking:
        peers = circle.neighbours(client_id)
        sealed = [
            covered[peer].sealed[circle.neighbours(peer).index(client_id)] if peer in covered else bytes(SEALED_BYTES)
            for peer in peers
        ]
        arrived = np.array([peer in covered for peer in peers])
        return Unmasking(self._round_index, client_id, arrived, to_rows(sealed, SEALED_BYTES))
