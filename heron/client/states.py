"""States that clients keep between their rounds, on disk: an idle client holds no memory, however many there are."""

import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from heron.arrays import Array
from heron.errors import CheckpointError, MessageError
from heron.files import sync_to_disk
from heron.wire.blob import load_arrays, save_arrays


class ClientStates:
    """Optimiser states of clients, a file for each client, named after the round that wrote it.

    A file that the last checkpoint may name is never changed, and removed only when `prune` says that a newer
    checkpoint is in place: a run killed at any instant finds the files its checkpoint names. `sync`, to be called
    before a checkpoint names them, makes them survive a power cut, all files of a round at once.

    Args:
        folder: where the files go, made with the first of them; None for a temporary folder that goes with this object.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._is_temporary = folder is None
        self._folder = folder
        self._round_of: dict[int, int] = {}
        self._superseded: set[Path] = set()
        self._unsynced: list[Path] = []

    def take(self, client_id: int) -> dict[str, NDArray[Any]]:
        """Hand over a client's state as NumPy arrays, and forget it until the next `keep`; empty if there is none.

        Raises:
            CheckpointError: if its file is absent or damaged.
        """
        round_index = self._round_of.pop(client_id, None)
        if round_index is None:
            return {}
        path = self._path(client_id, round_index)
        try:
            state = load_arrays(path.read_bytes())
        except (OSError, MessageError) as error:
            raise CheckpointError(f"cannot read {path}: {error}; start the run over") from error
        self._superseded.add(path)
        return state

    def keep(self, client_id: int, round_index: int, state: Mapping[str, Array]) -> None:
        """Put a client's new state into a file; an empty one is forgotten.

        Raises:
            CheckpointError: if the folder cannot be written.
        """
        if not state:
            return
        path = self._path(client_id, round_index)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(save_arrays(state))  # not aside and renamed: no checkpoint names the file yet
        except OSError as error:
            raise CheckpointError(f"cannot write {path}: {error.strerror}; choose a writable --out folder") from error
        older = self._round_of.get(client_id, round_index)
        if older != round_index:  # nobody took it
            self._superseded.add(self._path(client_id, older))
        self._superseded.discard(path)  # kept, taken and kept again in one round
        self._round_of[client_id] = round_index
        if self._is_temporary:  # no checkpoint ever names its files
            self.prune()
        else:
            self._unsynced.append(path)

    def sync(self) -> None:
        """Flush the new files to the disk; to be called before a checkpoint that names them.

        Raises:
            CheckpointError: if that fails.
        """
        sync_to_disk(self._unsynced)
        self._unsynced = []

    def prune(self) -> None:
        """Remove the files that newer ones have superseded; to be called after a checkpoint."""
        for path in self._superseded:
            path.unlink(missing_ok=True)
        self._superseded = set()

    def index(self) -> dict[str, int]:
        """Rounds that wrote the clients' files; JSON-serialisable."""
        return {str(client_id): self._round_of[client_id] for client_id in sorted(self._round_of)}

    def load_index(self, index: Mapping[str, int]) -> None:
        """Continue from what `index` returned; files of rounds that are to be run again go."""
        self._round_of = {int(client_id): int(round_index) for client_id, round_index in index.items()}
        self._unsynced = []
        needed = {self._path(client_id, round_index) for client_id, round_index in self._round_of.items()}
        self._superseded = {path for path in self._place().glob("*.safetensors") if path not in needed}
        self.prune()

    def _path(self, client_id: int, round_index: int) -> Path:
        return self._place() / f"{client_id}-{round_index}.safetensors"

    def _place(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="heron-clients-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder
