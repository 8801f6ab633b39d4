"""What clients keep between their rounds, on disk: an idle client holds no memory, however many there are."""

import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save

from heron.algorithms import ClientState
from heron.engines.checkpoint import write_atomically
from heron.errors import CheckpointError


class ClientStates:
    """Optimiser states of clients, a file for each client, named after the round that wrote it.

    A file that the last checkpoint may name is never changed, and removed only when `prune` says that a newer
    checkpoint is in place: a run killed at any instant finds the files its checkpoint names.

    Args:
        folder: where the files go; None for a temporary folder, made when it is needed, that goes with this object.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._is_temporary = folder is None
        self._folder = folder
        self._round_of: dict[int, int] = {}
        self._superseded: list[Path] = []

    def take(self, client_id: int) -> ClientState:
        """A client's state on the CPU, empty if there is none. It is forgotten here until the next `keep`.

        Raises:
            CheckpointError: if its file is absent or damaged.
        """
        round_index = self._round_of.pop(client_id, None)
        if round_index is None:
            return {}
        path = self._path(client_id, round_index)
        try:
            state = load(path.read_bytes())
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"cannot read {path}: {error}; start the run over") from error
        self._superseded.append(path)
        return state

    def keep(self, client_id: int, round_index: int, state: ClientState) -> None:
        """Put a client's new state on disk; an empty one is forgotten."""
        if not state:
            return
        on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        write_atomically(self._path(client_id, round_index), save(on_cpu))
        self._round_of[client_id] = round_index
        if self._is_temporary:  # no checkpoint ever names its files
            self.prune()

    def prune(self) -> None:
        """Remove the files that newer ones have superseded; to be called after a checkpoint."""
        for path in self._superseded:
            path.unlink(missing_ok=True)
        self._superseded = []

    def index(self) -> dict[str, int]:
        """Which round wrote each client's file; JSON-serialisable."""
        return {str(client_id): self._round_of[client_id] for client_id in sorted(self._round_of)}

    def load_index(self, index: Mapping[str, int]) -> None:
        """Continue from what `index` returned; files of rounds that are to be run again go."""
        self._round_of = {int(client_id): int(round_index) for client_id, round_index in index.items()}
        needed = {self._path(client_id, round_index) for client_id, round_index in self._round_of.items()}
        self._superseded = [path for path in self._made().glob("*.safetensors") if path not in needed]
        self.prune()

    def _path(self, client_id: int, round_index: int) -> Path:
        return self._made() / f"{client_id}-{round_index}.safetensors"

    def _made(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="heron-clients-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder
