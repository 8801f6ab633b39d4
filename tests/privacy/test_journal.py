"""Notes: there for good once they are added, each once, and nothing damaged is read as less than it was."""

from pathlib import Path

import pytest

from heron.errors import CheckpointError, WithheldError
from heron.privacy.journal import FileNotes, Journal, MemoryNotes, Note, read_notes


def test_notes_are_of_one_run_and_each_is_there_once(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    journal, other = Journal(FileNotes(path), "a1"), Journal(FileNotes(path), "b2")
    for round_index, digest in ((0, "x"), (0, "y"), (1, "x"), (0, "x")):
        journal.add(round_index, "release/0", digest)
        other.add(7, "release/0", digest)
    again = Journal(FileNotes(path), "a1")
    assert [(note.round_index, note.digest) for note in again.notes("release/0")] == [(0, "x"), (0, "y"), (1, "x")]
    assert again.notes("release/1") == []
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("in_file", [True, False])
def test_what_a_subject_is_is_settled_once(in_file: bool, tmp_path: Path) -> None:
    journal = Journal(FileNotes(tmp_path / "notes") if in_file else MemoryNotes(), "a1")
    for _ in range(2):
        journal.commit(3, "answer/0", b"one")
    journal.commit(4, "answer/0", b"another")
    with pytest.raises(WithheldError, match="expected the same answer in round 4 as before, found another") as refused:
        journal.commit(3, "answer/0", b"another")
    assert "\n" not in str(refused.value)
    assert len(journal.notes("answer/0")) == 2


def test_of_two_processes_the_first_note_counts(tmp_path: Path) -> None:
    """Both see nothing, both write: who stands second is refused, though it had looked before."""
    store = FileNotes(tmp_path / "notes")

    class Late(FileNotes):
        """Another process writes between the look and the note."""

        def append(self, line: bytes) -> None:
            Journal(store, "a1").add(0, "answer/0", "of-the-other")
            super().append(line)

    with pytest.raises(WithheldError):
        Journal(Late(tmp_path / "notes"), "a1").commit(0, "answer/0", b"mine")


def test_half_a_line_of_a_power_cut_is_no_note_and_ends_with_the_next(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    journal = Journal(FileNotes(path), "a1")
    journal.add(0, "release/0", "x")
    path.write_bytes(path.read_bytes() + b"a1 1 rel")
    assert len(journal.notes("release/0")) == 1
    journal.add(2, "release/0", "y")
    assert path.read_bytes() == b"a1 0 release/0 x\na1 2 release/0 y\n"


@pytest.mark.parametrize("line", [b"a1 0 release/0", b"a1 -1 release/0 x", b"a1 0 release/0 x y", b"", b"\xff 0 a b"])
def test_damaged_notes_are_one_line(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_bytes(b"a1 0 release/0 x\n" + line + b"\n")
    with pytest.raises(CheckpointError, match=r"expected notes of what was released in .*notes, found line 2") as found:
        read_notes(FileNotes(path))
    assert "\n" not in str(found.value)


def test_notes_that_cannot_be_kept_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    journal = Journal(FileNotes(tmp_path / "notes"), "a1")
    with pytest.raises(CheckpointError, match="cannot write"):
        journal.add(0, "release/0", "x")
    with pytest.raises(CheckpointError, match="cannot read"):
        journal.notes("release/0")


def test_all_runs_are_read_in_their_order() -> None:
    store = MemoryNotes()
    Journal(store, "a1").add(0, "x", "1")
    Journal(store, "b2").add(5, "y", "2")
    assert read_notes(store) == [Note("a1", 0, "x", "1"), Note("b2", 5, "y", "2")]


@pytest.mark.parametrize(
    ("round_index", "subject", "digest"),
    [(10**18, "x", "1"), (-1, "x", "1"), (0, "a b", "1"), (0, "\xe9", "1"), (0, "x", "")],
)
def test_a_note_that_could_not_be_read_again_is_not_written(round_index: int, subject: str, digest: str) -> None:
    store = MemoryNotes()
    journal = Journal(store, "a1")
    journal.add(10**18 - 1, "x", "1")
    with pytest.raises(CheckpointError, match=r"expected a note of run, round .*, found .*nothing released") as found:
        journal.add(round_index, subject, digest)
    assert "\n" not in str(found.value)
    assert read_notes(store) == [Note("a1", 10**18 - 1, "x", "1")]
