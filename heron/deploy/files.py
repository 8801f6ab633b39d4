"""Files that have the right permissions from their first byte."""

import os
from pathlib import Path

from heron.errors import DeployError

SECRET_MODE = 0o600
_FOLDER_MODE = 0o700


def write_file(path: Path, content: bytes, *, secret: bool = False, executable: bool = False) -> None:
    """Write a new file, regardless of the process's umask.

    Args:
        path: a path that does not exist yet; its folder is created.
        content: content of the file.
        secret: whether only the owner may read it.
        executable: whether the owner may run it.

    Raises:
        OSError: if it exists or cannot be written.
    """
    mode = SECRET_MODE if secret else 0o755 if executable else 0o644
    path.parent.mkdir(parents=True, exist_ok=True, mode=_FOLDER_MODE)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, SECRET_MODE), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(mode)


def replace_file(path: Path, content: bytes, *, secret: bool = False) -> None:
    """Replace a file's content atomically; on failure the file is unchanged.

    Args:
        path: the file; it need not exist.
        content: its new content.
        secret: whether only the owner may read it.

    Raises:
        DeployError: if it cannot be written.
    """
    aside = path.with_name(f".{path.name}.tmp")
    try:
        aside.unlink(missing_ok=True)
        write_file(aside, content, secret=secret)
        aside.replace(path)
    except OSError as error:
        raise DeployError(f"cannot write {path}: {error.strerror}; check the rights of its folder") from error
