"""The place that keeps a device's secret: memory, and once it has a folder a file that only its owner may read.

A secret has to outlive the process, because a round that is run again must repeat its release; and it must not be
replaced, because noise of another one in the same round would be a second release.
"""

from pathlib import Path

from heron.errors import CheckpointError, ConfigError
from heron.files import write_atomically
from heron.privacy.secret import Secret

_OWNER_ONLY = 0o600


class Vault:
    """Keeper of a device's secret.

    Args:
        secret: the secret; a fresh one by default.

    Attributes:
        secret: the secret in use.
    """

    def __init__(self, secret: Secret | None = None) -> None:
        self.secret = secret or Secret.fresh()
        self._path: Path | None = None
        self._is_written = False

    def keep_in(self, path: Path) -> None:
        """Set the file; it is written by `sync`."""
        self._path, self._is_written = path, False

    def sync(self) -> str:
        """Write the file, if there is one to write, and return the digest of the secret, for a checkpoint.

        Raises:
            CheckpointError: if it cannot be written.
        """
        if self._path is not None and not self._is_written:
            write_atomically(self._path, self.secret.reveal(), mode=_OWNER_ONLY)
            self._is_written = True
        return self.secret.digest()

    def restore(self, digest: str) -> None:
        """Take the secret that a checkpoint was written with.

        Args:
            digest: what `sync` returned.

        Raises:
            CheckpointError: if it is not there: a run with other noise would release its rounds a second time.
        """
        if self.secret.digest() == digest:
            return
        found = "none"
        if self._path is not None and self._path.is_file():
            found = "another one"
            try:
                secret = Secret(self._path.read_bytes())
            except (OSError, ConfigError):
                found = "a damaged one"
            else:
                if secret.digest() == digest:
                    self.secret, self._is_written = secret, True
                    return
        raise CheckpointError(
            f"expected the secret that this run began with in {self._path or 'memory'}, found {found}: other noise "
            f"would release the same rounds a second time; restore the file, or start a new run"
        )
