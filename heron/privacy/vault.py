"""The place that keeps a device's secret: memory, and once it has a folder a file that only its owner may read.

A secret has to outlive the process, because a round that is run again must repeat its release; and it must not be
replaced, because noise of another one in the same round would be a second release. So the file is written before
anything is drawn. It also says which run it is for: another run in the same folder has a secret of its own.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

from heron.errors import CheckpointError, ConfigError
from heron.files import write_atomically
from heron.privacy.secret import NUM_BYTES, Secret

_OWNER_ONLY = 0o600
_PERSON = b"heron/vault/v1"


class Vault:
    """Keeper of a device's secret, for one run.

    Args:
        secret: the secret; by default a fresh one, or that of a run which ended before its first checkpoint.

    Attributes:
        secret: the secret in use.
    """

    def __init__(self, secret: Secret | None = None) -> None:
        self.secret = secret or Secret.fresh()
        self._is_given = secret is not None
        self._is_claimed = False
        self._path: Path | None = None
        self._run = b""
        self._is_written = False

    def claim(self) -> None:
        """Take the vault for a run.

        Raises:
            ConfigError: if another run draws from it, which would have the same noise.
        """
        if self._is_claimed:
            raise ConfigError(
                "expected a vault of its own for each run, found one that another run draws from: their difference "
                "would be without noise; give each a Vault()"
            )
        self._is_claimed = True

    def open_round(self, round_index: int, client_id: int, given: Callable[[], bytes]) -> None:
        """Begin the releases of a client's round. Here no round is repeated with another model, so nothing is noted.

        Args:
            round_index: t, from 0.
            client_id: i, from 0.
            given: returns a digest of everything that the releases depend on and that servers determine.
        """

    def releasing(self, client_id: int) -> Secret:
        """Return the secret that noise and batches of the client's round at hand are drawn from."""
        return self.secret.of(client_id)

    def close_round(self, round_index: int, client_id: int, answer: bytes) -> None:
        """Note what a client's round is answered with, before it leaves; here nothing is asked twice.

        Args:
            round_index: t, from 0.
            client_id: i, from 0.
            answer: all that is sent.
        """

    def keep_in(self, path: Path, run: str = "") -> None:
        """Set the file; it is written by `begin` or `sync`.

        Args:
            path: the file.
            run: text by which the run is recognised that the secret is for.
        """
        self._path, self._is_written = path, False
        self._run = hashlib.blake2b(run.encode(), digest_size=NUM_BYTES, person=_PERSON).digest()

    def begin(self) -> None:
        """Write the file before anything is drawn; a run that is run again takes the secret that it began with.

        Raises:
            CheckpointError: if it cannot be read or written.
        """
        if self._path is None or self._is_written:
            return
        if not self._is_given and self._path.is_file():
            content = _read(self._path)
            if len(content) == 2 * NUM_BYTES and content[NUM_BYTES:] == self._run:
                self.secret, self._is_written = Secret(content[:NUM_BYTES]), True
        self.sync()

    def sync(self) -> str:
        """Write the file, if there is one to write, and return the digest of the secret, for a checkpoint.

        Raises:
            CheckpointError: if it cannot be written.
        """
        if self._path is not None and not self._is_written:
            write_atomically(self._path, self.secret.reveal() + self._run, mode=_OWNER_ONLY)
            self._is_written = True
        return self.secret.digest()

    def restore(self, digest: str, *, on_nodes: bool = False) -> None:
        """Take the secret that a checkpoint was written with.

        Args:
            digest: what `sync` returned.
            on_nodes: whether clients of the run have secrets of their own, on nodes of Flower's.

        Raises:
            CheckpointError: if it is not there: a run with other noise would release its rounds a second time.
        """
        if self.secret.digest() == digest:
            return
        if on_nodes:
            raise CheckpointError(
                "expected a run whose secret is in its folder, found one whose clients are Flower's nodes, which keep "
                "their own; continue it on Flower, or start a new run"
            )
        found = "none"
        if self._path is not None and self._path.is_file():
            found = "another one"
            try:
                content = _read(self._path)
                secret = Secret(content[:NUM_BYTES])
            except (CheckpointError, ConfigError):
                found = "a damaged one"
            else:
                if secret.digest() == digest:
                    self.secret, self._is_written = secret, True
                    return
        raise CheckpointError(
            f"expected the secret that this run began with in {self._path or 'memory'}, found {found}: other noise "
            f"would release the same rounds a second time; restore the file, or start a new run"
        )


def _read(path: Path) -> bytes:
    """Read a file of a secret, and no more of it than one can have."""
    try:
        with path.open("rb") as file:
            return file.read(2 * NUM_BYTES + 1)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}; make it readable for its owner") from error
