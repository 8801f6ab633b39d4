"""A device's secret in a file of its own, drawn when a run first needs it, and its notes in the file next to it."""

import os
from pathlib import Path

from heron.errors import CheckpointError
from heron.files import create_once
from heron.privacy.journal import FileNotes
from heron.privacy.secret import NUM_BYTES, Secret

OWNER_ONLY = 0o600
"""Mode of the file."""
NOTES_SUFFIX = ".notes"
"""Ending of the file of notes, after the name of the secret's."""
_OTHERS = 0o077


class SecretFile:
    """A file with a device's secret. It is for all runs of the device; each draws from a secret that follows from it.

    Args:
        path: the file, in a folder that exists.

    Attributes:
        notes: what the device has released.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.notes = FileNotes(path.with_name(path.name + NOTES_SUFFIX))

    def secret(self) -> Secret:
        """Return the secret; the first time it is drawn and written.

        Raises:
            CheckpointError: if it is damaged, others may read it, or it cannot be read or written.
        """
        if not self.exists():
            if self.notes.read():
                raise CheckpointError(
                    f"expected the secret in {self._path} whose notes are in {self.notes}, found none; restore the "
                    f"file, or move the notes away to begin new runs alone"
                )
            create_once(self._path, Secret.fresh().reveal(), mode=OWNER_ONLY)
        return self.read()

    def exists(self) -> bool:
        """Return whether the file is there.

        Raises:
            CheckpointError: if that cannot be seen, for example in a folder of another user.
        """
        try:
            self._path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise self._unreadable(error) from error
        return True

    def read(self) -> Secret:
        """Return the secret of a file that is there.

        Raises:
            CheckpointError: as of `secret`.
        """
        try:
            mode = self._path.stat().st_mode & 0o777
            if os.name == "posix" and mode & _OTHERS:
                raise CheckpointError(
                    f"{self._path} has mode {mode:04o}, other users may read this secret; chmod 600 {self._path}"
                )
            with self._path.open("rb") as file:
                key = file.read(NUM_BYTES + 1)
        except OSError as error:
            raise self._unreadable(error) from error
        if len(key) != NUM_BYTES:
            raise CheckpointError(
                f"expected a secret of {NUM_BYTES} bytes in {self._path}, found a damaged one; restore the file, or "
                f"move it and its notes away to begin new runs alone"
            )
        return Secret(key)

    def _unreadable(self, error: OSError) -> CheckpointError:
        return CheckpointError(f"cannot read {self._path}: {error.strerror}; make it a file that its owner can read")
