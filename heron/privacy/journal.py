"""Notes that outlive the process: of a client about what it has released, of a server about what it has asked for.

A note says that something of a round was given out, and by which digest it is recognised. It is on the disk before that
leaves, so that whoever repeats a round finds out what it did before. Notes are appended and never changed; if two
processes write at a time, what stands first counts for both.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from heron.errors import CheckpointError, WithheldError
from heron.files import append_line

_OWNER_ONLY = 0o600
_LINE = re.compile(rb"([!-~]+) ([0-9]{1,18}) ([!-~]+) ([!-~]+)")
_PERSON = b"heron/notes/v1"
_DIGEST_BYTES = 16


class NoteStore(Protocol):
    """Place of notes."""

    def read(self) -> list[bytes]:
        """Return the lines so far, oldest first."""
        ...

    def append(self, line: bytes) -> None:
        """Add a line, which is there for good when this returns."""
        ...


class FileNotes:
    """Notes in a file that only its owner may read.

    Args:
        path: the file; written with the first note.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[bytes]:
        """Return the lines so far; half a line at the end, from a power cut, is none.

        Raises:
            CheckpointError: if the file cannot be read.
        """
        try:
            return self._path.read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CheckpointError(
                f"cannot read {self._path}: {error.strerror}; make it readable for its owner"
            ) from error

    def append(self, line: bytes) -> None:
        """Add a line."""
        append_line(self._path, line, mode=_OWNER_ONLY)

    def __str__(self) -> str:
        """Return the path, for messages."""
        return str(self._path)


class MemoryNotes:
    """Notes that last as long as the process."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []

    def read(self) -> list[bytes]:
        """Return the lines so far."""
        return list(self._lines)

    def append(self, line: bytes) -> None:
        """Add a line."""
        self._lines.append(line)


@dataclass(frozen=True)
class Note:
    """One note.

    Attributes:
        run: name of the run.
        round_index: t, from 0.
        subject: kind of the note, and whom it concerns, without blanks.
        digest: digest of what was given out, without blanks.
    """

    run: str
    round_index: int
    subject: str
    digest: str


class Journal:
    """The notes of one run.

    Args:
        store: place of the notes, of all runs.
        run: name of the run, without blanks.
    """

    def __init__(self, store: NoteStore, run: str) -> None:
        self._store = store
        self._run = run

    def notes(self, subject: str) -> list[Note]:
        """Return the notes of this run on a subject, each once, oldest first.

        Raises:
            CheckpointError: if notes are damaged or cannot be read.
        """
        found = (note for note in read_notes(self._store) if (note.run, note.subject) == (self._run, subject))
        return list(dict.fromkeys(found))

    def add(self, round_index: int, subject: str, digest: str) -> None:
        """Add a note, which is there for good when this returns.

        Raises:
            CheckpointError: if it could not be read again, or cannot be written.
        """
        line = f"{self._run} {round_index} {subject} {digest}"
        if _LINE.fullmatch(line.encode()) is None:
            raise CheckpointError(
                f"expected a note of run, round (0 or more, at most 18 digits), subject and digest without blanks, "
                f"found {line[:200]!r}; nothing is noted, and nothing released: correct the round or the names"
            )
        self._store.append(line.encode())

    def commit(self, round_index: int, subject: str, content: bytes) -> None:
        """Note what a subject of a round is, once and for all; the same content may be noted again.

        Raises:
            WithheldError: if it was something else before.
            CheckpointError: if notes cannot be read or written.
        """
        for is_noted in (False, True):
            first = next((note.digest for note in self.notes(subject) if note.round_index == round_index), None)
            if first is not None and first != note_digest(content):
                raise WithheldError(
                    f"expected the same {subject.partition('/')[0]} in round {round_index + 1} as before, found "
                    f"another: both together would tell what neither does; it is held back, and the next round goes on"
                )
            if first is not None:
                return
            if not is_noted:
                self.add(round_index, subject, note_digest(content))


def read_notes(store: NoteStore) -> list[Note]:
    """Return the notes of all runs, oldest first.

    Raises:
        CheckpointError: if a line is damaged, or they cannot be read.
    """
    notes = []
    for number, line in enumerate(store.read(), start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise CheckpointError(
                f"expected notes of what was released in {store}, found line {number} damaged; restore the file, or "
                f"begin a new run with a new one"
            )
        run, round_index, subject, digest = (field.decode("ascii") for field in match.groups())
        notes.append(Note(run, int(round_index), subject, digest))
    return notes


def note_digest(content: bytes) -> str:
    """Return the digest by which a content is recognised in notes."""
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES, person=_PERSON).hexdigest()
