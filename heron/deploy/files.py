"""Files that have the right permissions from their first byte."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

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
    with _new_file(path, mode) as file:
        file.write(content)


def copy_file(source: Path, path: Path) -> None:
    """Write a new file with the content of another, regardless of the process's umask; it may be large.

    Args:
        source: the other file.
        path: a path that does not exist yet; its folder is created.

    Raises:
        OSError: if one cannot be read, or the other exists or cannot be written.
    """
    with source.open("rb") as content, _new_file(path, 0o644) as file:
        shutil.copyfileobj(content, file)


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


@contextmanager
def _new_file(path: Path, mode: int) -> Iterator[BinaryIO]:
    """Open a new file that its owner alone can read until it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=_FOLDER_MODE)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, SECRET_MODE), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    path.chmod(mode)
