"""The servers' notes of a run whose clients have secrets: its name, what clients were charged, whose secrets answered.

A client is charged for a private round before the request that opens it is sent. It is not charged again if it keeps
its secret in a file, and kept it there when it was asked for the same round with the same model before, since it then
repeats its release. Each request states what the servers take it to do; a client without a file declines to repeat.
Notes are a file in the run's folder: a run that is resumed knows what was asked for after its last checkpoint.
"""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heron.engines.servers import Servers
from heron.errors import CheckpointError, TrainingError
from heron.flower.faults import RefusedError
from heron.privacy.journal import FileNotes, Journal, MemoryNotes, Note, NoteStore, note_digest, read_notes
from heron.wire.digests import digest_of
from heron.wire.terms import encode_terms

_FILE = "releases.notes"
_BEGUN, _CHARGE, _SECRET = "begun", "charge/", "secret/"


class RunNotes:
    """Notes of one run.

    Args:
        servers: the servers of the run.

    Attributes:
        run: name of the run, which clients draw a secret for; empty where they need none.
        secrets: digest of the secret that each client was last seen with.
    """

    def __init__(self, servers: Servers) -> None:
        self.run = secrets.token_hex(16) if servers.settings.needs_secret else ""
        self.secrets: dict[int, str] = {}
        self._servers = servers
        self._terms = encode_terms(servers.terms)
        self._store: NoteStore = MemoryNotes()
        self._identity = note_digest(b"")
        self._is_begun = False
        self._model = 0
        self._charges: dict[int, list[Note]] = {}

    def keep_in(self, folder: Path, identity: str) -> None:
        """Keep the notes in a folder; a run that ended there before its first checkpoint goes on with its name.

        Args:
            folder: the folder.
            identity: text by which the run is recognised, whatever number of rounds it has.

        Raises:
            CheckpointError: if notes are there and cannot be read, or are damaged.
        """
        if not self.run:
            return
        self._store = FileNotes(folder / _FILE)
        self._identity = note_digest(f"{identity} {digest_of(self._servers.fed_server.global_model())}".encode())
        begun = [note for note in read_notes(self._store) if (note.subject, note.digest) == (_BEGUN, self._identity)]
        if begun:
            self._take_up(begun[-1].run)

    def begin_round(self) -> None:
        """Look at the model of the next round, and note the name of a run that begins, before anything is sent.

        Raises:
            CheckpointError: if it cannot be written.
        """
        if not self.run:
            return
        self._model = digest_of(self._servers.fed_server.global_model())
        if not self._is_begun:
            self._journal.add(0, _BEGUN, self._identity)
            self._is_begun = True

    def charge(self, client_id: int, state_round: int, *, repeats: bool) -> int:
        """Charge a client for the next round, before the request that opens it is sent.

        Args:
            client_id: i, from 0.
            state_round: round of the kept state that it begins with; -1 for none.
            repeats: whether the client repeats a release that it is asked for again, since its secret is in a file.

        Returns:
            The number of releases that it has been charged for; 0 where nothing is private.

        Raises:
            RefusedError: if its budget does not allow the round.
            CheckpointError: if the note cannot be written.
        """
        account, round_index = self._servers.account, self._servers.next_round
        if account is None:
            return 0
        charges = self._charges.setdefault(client_id, [])
        digest = note_digest(self._terms + f" {self._model} {state_round} {repeats}".encode())
        earlier = [note.digest for note in charges if note.round_index == round_index]
        if digest not in [each.partition(".")[0] for each in earlier] or not repeats:
            note = Note(self.run, round_index, f"{_CHARGE}{client_id}", f"{digest}.{len(earlier)}")
            try:
                account.charge_one(client_id)
            except TrainingError as error:
                raise RefusedError("withheld", str(error)) from error
            self._journal.add(note.round_index, note.subject, note.digest)
            charges.append(note)
        return account.rounds[client_id]

    def least_examples(self, client_id: int) -> int:
        """Return the number of examples that the account takes a client to have; 0 where there is none."""
        account = self._servers.account
        return 0 if account is None else account.sizes[client_id]

    @property
    def fixes_rounds(self) -> bool:
        """True if the noise was found for the number of rounds."""
        return self._servers.account is not None and self._servers.account.fixes_rounds

    def saw(self, client_id: int, digest: str) -> None:
        """Note whose secret a client has answered with, if it is another one than before, whether the answer counts.

        Raises:
            CheckpointError: if the note cannot be written.
        """
        if digest and self.secrets.get(client_id) != digest:
            self._journal.add(self._servers.next_round, f"{_SECRET}{client_id}", digest)
            self.secrets[client_id] = digest

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint has to name; empty where clients need no secrets."""
        return {"run": self.run} if self.run else {}

    def load_state(self, facts: Mapping[str, Any]) -> None:
        """Continue from a result of `state`, after the account has.

        Raises:
            CheckpointError: if the notes of the run are not there: what was asked for after the checkpoint would be
                asked for again and charged once.
        """
        if not self.run:
            return
        if "run" not in facts:
            raise CheckpointError(
                "expected a run whose clients are Flower's nodes, found one whose secret is in its folder; continue it "
                "with heron train, or start a new run"
            )
        account, rounds = self._servers.account, []
        if account is not None:
            rounds = list(account.rounds)
        self._take_up(str(facts["run"]))
        if not self._is_begun or (account is not None and any(map(int.__lt__, account.rounds, rounds))):
            raise CheckpointError(
                f"expected the notes of this run in {self._store}, found {'older ones' if self._is_begun else 'none'}: "
                f"what clients have released since could not be charged; restore the file, or start a new run"
            )

    @property
    def _journal(self) -> Journal:
        return Journal(self._store, self.run)

    def _take_up(self, run: str) -> None:
        """Take the name, the charges and the clients' secrets of a run, and set the account."""
        self.run = run
        self._is_begun = bool(self._journal.notes(_BEGUN))
        self._charges, self.secrets = {}, {}
        for note in read_notes(self._store):
            kind, _, number = note.subject.partition("/")
            if note.run == run and f"{kind}/" == _CHARGE:
                self._charges.setdefault(int(number), []).append(note)
            elif note.run == run and f"{kind}/" == _SECRET:
                self.secrets[int(number)] = note.digest
        if self._servers.account is not None:
            numbers = [len(self._charges.get(client_id, [])) for client_id in range(self._servers.num_clients)]
            self._servers.account.rounds = numbers
