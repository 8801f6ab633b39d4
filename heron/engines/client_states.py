"""What clients keep between their rounds, on disk: an idle client holds no memory, however many there are."""

import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open

from heron.algorithms import ClientState
from heron.engines.checkpoint import save_checkpoint
from heron.engines.packing import pack
from heron.errors import CheckpointError


class ClientStates:
    """Optimiser states of clients, one file per round that changed any.

    Files are written aside and renamed; a file that a checkpoint may still name is never changed, only removed once
    every client in it has a newer one and the checkpoint says so.

    Args:
        folder: where the files go; None for a temporary folder that goes with this object.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._is_temporary = folder is None
        if folder is None:
            folder = Path(tempfile.mkdtemp(prefix="heron-clients-"))
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._folder = folder
        self._round_of: dict[int, int] = {}
        self._pending: dict[int, ClientState] = {}

    def take(self, client_id: int) -> ClientState:
        """A client's state, empty if there is none; the caller owns it.

        Raises:
            CheckpointError: if its file is absent or damaged.
        """
        round_index = self._round_of.pop(client_id, None)
        if round_index is None:
            return {}
        path, prefix = self._path(round_index), f"{client_id}::"
        try:
            with safe_open(path, framework="pt") as file:
                names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118 - no mapping
                return {name.removeprefix(prefix): file.get_tensor(name) for name in names}
        except Exception as error:  # safetensors raises its own type, OSError and others for damaged files
            raise CheckpointError(f"cannot read {path}: {error}; start the run over") from error

    def keep(self, client_id: int, state: ClientState) -> None:
        """Hold a client's new state until `write`; an empty one is forgotten."""
        if state:
            self._pending[client_id] = state

    def write(self, round_index: int) -> None:
        """Put the round's new states on disk, before the checkpoint that names them."""
        if not self._pending:
            return
        groups = {str(client_id): state for client_id, state in self._pending.items()}
        save_checkpoint(self._path(round_index), pack(groups), {"round": round_index})
        self._round_of |= dict.fromkeys(self._pending, round_index)
        self._pending = {}
        if self._is_temporary:  # no checkpoint ever names its files
            self.prune()

    def prune(self) -> None:
        """Remove files that no client needs, after the checkpoint."""
        needed = {self._path(round_index) for round_index in self._round_of.values()}
        for path in self._folder.glob("clients-*.safetensors"):
            if path not in needed:
                path.unlink(missing_ok=True)

    def index(self) -> dict[str, int]:
        """Which round's file holds each client's state; JSON-serialisable."""
        return {str(client_id): self._round_of[client_id] for client_id in sorted(self._round_of)}

    def load_index(self, index: Mapping[str, int]) -> None:
        """Continue from what `index` returned."""
        self._round_of = {int(client_id): int(round_index) for client_id, round_index in index.items()}
        self._pending = {}

    def _path(self, round_index: int) -> Path:
        return self._folder / f"clients-{round_index}.safetensors"
