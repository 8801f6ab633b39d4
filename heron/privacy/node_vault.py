"""The vault of a device whose rounds come from elsewhere: they may be repeated, with the same model or with another.

Noise and batches of a round are drawn from the device's secret, the run, and a digest of everything that the round's
releases depend on and that servers determine. So a round that is asked for again with the same model is the same
release, to the last bit, and says nothing more. With another model everything is drawn anew: that is a further release,
and counts as one. What is drawn once per example, and masks, are of the run's secret alone.

A server cannot ask for more than was agreed on: the device counts its releases in notes of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass

from heron.errors import UnchargedError, WithheldError
from heron.privacy.journal import Journal, NoteStore, note_digest
from heron.privacy.secret import Secret
from heron.privacy.vault import Vault


@dataclass(frozen=True)
class Allowance:
    """Number of releases of a client in a run, each of one round.

    Attributes:
        planned: number of rounds that the agreed settings plan for the client.
        charged: number of releases for which the server's account has charged the client, with the one at hand.
    """

    planned: int
    charged: int


NOTHING = Allowance(0, 0)
"""No release."""


class NodeVault(Vault):
    """Keeper of a device's secret for one message of a run.

    Args:
        root: the device's secret, for all its runs.
        store: place of its notes.
        run: name of the run, which the servers draw: another run has another one.
        allowance: bounds on the releases of the client.

    Attributes:
        secret: the run's.
        journal: what the device has given out in this run.
    """

    def __init__(self, root: Secret, store: NoteStore, run: str, allowance: Allowance) -> None:
        super().__init__(root.bound("run", run.encode()))
        self.journal = Journal(store, run)
        self._allowance = allowance
        self._given = b""

    def open_round(self, round_index: int, client_id: int, given: Callable[[], bytes]) -> None:
        """Begin the releases of a client's round, and note that.

        Raises:
            WithheldError: if it would be a further release, and there were as many as are planned.
            UnchargedError: if it would be one, and the account has not charged it.
            CheckpointError: if notes cannot be read or written.
        """
        self._given = given()
        subject, found = f"release/{client_id}", note_digest(self._given)
        for is_noted in (False, True):
            known = [(note.round_index, note.digest) for note in self.journal.notes(subject)]
            place = known.index((round_index, found)) if (round_index, found) in known else len(known)
            self._check(round_index, client_id, place + 1)
            if place < len(known):
                return
            if not is_noted:
                self.journal.add(round_index, subject, found)

    def releasing(self, client_id: int) -> Secret:
        """Return the secret that noise and batches of the client's round at hand are drawn from."""
        assert self._given  # a round is opened before anything is drawn in it
        return self.secret.of(client_id).bound("round", self._given)

    def close_round(self, round_index: int, client_id: int, answer: bytes) -> None:
        """Note what a client's round is answered with, before it leaves.

        Raises:
            WithheldError: if the same round was answered with something else before: its data, or how it computes, have
                changed, and the same noise under both would show the difference.
            CheckpointError: if notes cannot be read or written.
        """
        if self._given:
            self.journal.commit(round_index, f"answer/{client_id}/{note_digest(self._given)}", answer)

    def _check(self, round_index: int, client_id: int, number: int) -> None:
        planned, charged = self._allowance.planned, self._allowance.charged
        who = f"client {client_id} in round {round_index + 1}"
        if number > planned:
            raise WithheldError(
                f"{who}: expected at most {planned} private releases, which the run's settings plan for this client, "
                f"found that one more is asked for; it is held back"
            )
        if number > charged:
            raise UnchargedError(
                f"{who}: expected an account that has charged this client for {number} releases, which its own notes "
                f"count, found one of {charged}; it is held back, and the next round goes on"
            )
