"""States that clients keep between their rounds: of a few in memory, on disk otherwise, however many clients there are.

An idle client of many holds no memory; few clients need no file between two checkpoints.
"""

import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heron.arrays import Array, to_host
from heron.errors import CheckpointError, MessageError
from heron.files import sync_to_disk
from heron.wire.blob import load_arrays, save_arrays

_CLIENTS_IN_MEMORY = 16
_BYTES_IN_MEMORY = 1 << 26

State = dict[str, NDArray[Any]]


class ClientStates:
    """Optimiser states of clients. A state on disk is a file, named after the client and the round that left it.

    A file that the last checkpoint may name is never changed, and removed only when `prune` says that a newer
    checkpoint is in place: a run killed at any instant finds the files its checkpoint names. `sync`, to be called
    before a checkpoint names them, writes the states in memory and makes all files survive a power cut, all of a
    checkpoint at once.

    Args:
        folder: where the files go, made with the first of them; None for a temporary folder that goes with this object.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._is_temporary = folder is None
        self._folder = folder
        self._round_of: dict[int, int] = {}
        self._in_memory: dict[int, State] = {}
        self._unwritten: set[int] = set()
        self._superseded: set[Path] = set()
        self._unsynced: list[Path] = []

    def take(self, client_id: int) -> State:
        """Hand over a client's state as NumPy arrays, and forget it until the next `keep`; empty if there is none.

        Raises:
            CheckpointError: if its file is absent or damaged.
        """
        if client_id not in self._round_of:
            return {}
        state = self._in_memory.get(client_id)
        if state is None:
            path = self._path(client_id)
            try:
                state = load_arrays(path.read_bytes())
            except (OSError, MessageError) as error:
                raise CheckpointError(f"cannot read {path}: {error}; start the run over") from error
        self._forget(client_id)
        return state

    def keep(self, client_id: int, round_index: int, state: Mapping[str, Array]) -> None:
        """Keep a client's new state; an empty one is forgotten.

        Raises:
            CheckpointError: if the folder cannot be written.
        """
        if not state:
            return
        self._forget(client_id)  # nobody took it
        self._round_of[client_id] = round_index
        if self._has_room(state):
            self._in_memory[client_id] = {name: np.array(to_host(array)) for name, array in state.items()}
            self._unwritten.add(client_id)
        else:
            self._write(client_id, state)
        if self._is_temporary:  # no checkpoint ever names its files
            self.prune()

    def sync(self) -> None:
        """Write the states in memory, and flush the new files to the disk; before a checkpoint that names them.

        Raises:
            CheckpointError: if that fails.
        """
        for client_id in sorted(self._unwritten):
            self._write(client_id, self._in_memory[client_id])
        self._unwritten = set()
        if not self._is_temporary:
            sync_to_disk(self._unsynced)
        self._unsynced = []

    def prune(self) -> None:
        """Remove the files that newer states have superseded; to be called after a checkpoint."""
        for path in self._superseded:
            path.unlink(missing_ok=True)
        self._superseded = set()

    def index(self) -> dict[str, int]:
        """Rounds that left the clients' states; JSON-serialisable."""
        return {str(client_id): self._round_of[client_id] for client_id in sorted(self._round_of)}

    def load_index(self, index: Mapping[str, int]) -> None:
        """Continue from what `index` returned; files of rounds that are to be run again go."""
        self._round_of = {int(client_id): int(round_index) for client_id, round_index in index.items()}
        self._in_memory, self._unwritten, self._unsynced = {}, set(), []
        needed = set(map(self._path, self._round_of))
        self._superseded = {path for path in self._place().glob("*.safetensors") if path not in needed}
        self.prune()

    def _has_room(self, state: Mapping[str, Array]) -> bool:
        """Return whether memory has room for one more state."""
        held = sum(array.nbytes for one in self._in_memory.values() for array in one.values())
        new = sum(array.nbytes for array in state.values())
        return len(self._in_memory) < _CLIENTS_IN_MEMORY and held + new <= _BYTES_IN_MEMORY

    def _forget(self, client_id: int) -> None:
        if client_id in self._round_of and client_id not in self._unwritten:
            self._superseded.add(self._path(client_id))
        self._round_of.pop(client_id, None)
        self._in_memory.pop(client_id, None)
        self._unwritten.discard(client_id)

    def _write(self, client_id: int, state: Mapping[str, Array]) -> None:
        path = self._path(client_id)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(save_arrays(state))  # not aside and renamed: no checkpoint names the file yet
        except OSError as error:
            raise CheckpointError(f"cannot write {path}: {error.strerror}; choose a writable --out folder") from error
        self._superseded.discard(path)  # kept, taken and kept again in one round
        self._unsynced.append(path)

    def _path(self, client_id: int) -> Path:
        return self._place() / f"{client_id}-{self._round_of[client_id]}.safetensors"

    def _place(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="heron-clients-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder
