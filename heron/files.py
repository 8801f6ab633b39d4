"""Files that are complete or absent at any instant: written to a temporary name, flushed to the disk and renamed."""

import contextlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from heron.errors import CheckpointError

_SYNC_THREADS = 16


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file's content; on failure the file is unchanged.

    Raises:
        CheckpointError: if the folder cannot be written.
    """
    aside = path.with_name(f"{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        _sync(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise CheckpointError(f"cannot write {path}: {error.strerror}; choose a writable --out folder") from error


def sync_to_disk(paths: Sequence[Path]) -> None:
    """Flush files of one folder, and the folder, so that they survive a power cut.

    Raises:
        CheckpointError: if that fails.
    """
    if not paths:
        return
    try:
        # In parallel they share the file system's commits; one after the other, each would wait for its own.
        with ThreadPoolExecutor(_SYNC_THREADS) as pool:
            list(pool.map(_sync, paths))
        _sync(paths[0].parent)
    except OSError as error:
        raise CheckpointError(f"cannot write {paths[0].parent}: {error.strerror}; free some space there") from error


def _sync(path: Path) -> None:
    """Make a file's content, or the names in a folder, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
