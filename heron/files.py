"""Files that are complete or absent at any instant: written to a temporary name, flushed to the disk and renamed."""

import contextlib
import errno
import os
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from pathlib import Path

from heron.errors import CheckpointError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_SYNC_THREADS = 16
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_APPEND = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
# Answers of systems that have no way to flush a folder: Windows refuses to open one, some file systems to flush it.
_NO_FOLDERS = {errno.EACCES, errno.EPERM, errno.EBADF, errno.EINVAL, errno.ENOTSUP}
# Answers of file systems without locks, and of those without hard links.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
_NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


def write_atomically(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Replace a file's content; on failure the file is unchanged.

    Args:
        path: the file.
        content: what it shall contain.
        mode: who may read and write it, as far as the process's mask allows.

    Raises:
        CheckpointError: if the path is a folder, or cannot be written.
    """
    if not path.name:  # `.`, `/`
        raise _is_folder(path)
    aside = path.with_name(f"{path.name}.tmp")
    try:
        if path.is_dir():
            raise _is_folder(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.unlink(missing_ok=True)  # one that was left behind would keep its mode
        with os.fdopen(os.open(aside, _CREATE, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise CheckpointError(f"cannot write {path}: {error.strerror}; choose a writable --out folder") from error


def append_line(path: Path, line: bytes, *, mode: int = 0o666) -> None:
    """Append a line to a file, and flush it to the disk; half a line that a power cut has left there is dropped.

    Processes that append at a time wait for one another, where system and file system have locks.

    Args:
        path: the file; neither it nor its folder need exist.
        line: the line, without its end.
        mode: who may read and write a new file, as far as the process's mask allows.

    Raises:
        CheckpointError: if it cannot be written as a whole.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, _APPEND, mode), "rb+", buffering=0) as file:
            _lock(file.fileno())
            content = file.read()
            if not content:
                _sync_folder(path.parent)  # before, so that whoever finds content knows that the name is there for good
            elif not content.endswith(b"\n"):
                os.ftruncate(file.fileno(), content.rfind(b"\n") + 1)
            _write_whole(file, line + b"\n")
            os.fsync(file.fileno())
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror}; make it writable for its owner") from error


def create_once(path: Path, content: bytes, *, mode: int = 0o666) -> bool:
    """Write a file that nobody has written before; it is complete or absent at any instant.

    Args:
        path: the file; its folder exists.
        content: what it shall contain.
        mode: who may read and write it, as far as the process's mask allows.

    Returns:
        Whether it was written; False if it was there already, unchanged.

    Raises:
        CheckpointError: if it cannot be written.
    """
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        try:
            with os.fdopen(os.open(aside, _CREATE, mode), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if not _linked(aside, path):
                return False
        finally:
            aside.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as error:
        raise CheckpointError(
            f"cannot write {path}: {error.strerror}; name a file in a folder that is there and writable"
        ) from error
    return True


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
            list(pool.map(_sync_file, paths))
        _sync_folder(paths[0].parent)
    except OSError as error:
        raise CheckpointError(f"cannot write {paths[0].parent}: {error.strerror}; free some space there") from error


def _is_folder(path: Path) -> CheckpointError:
    return CheckpointError(f"expected the name of a file to write, found the folder {path}; name a file in it")


def _lock(handle: int) -> None:
    """Wait until no other process has a file locked, and lock it until it is closed, where that is possible."""
    if fcntl is None:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def _write_whole(file: FileIO, content: bytes) -> None:
    """Write to a file without a buffer, which may take a part at a time; a full disk takes none, and raises."""
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]


def _linked(aside: Path, path: Path) -> bool:
    """Give a file its name, unless there is another of that name: unlike a renamed file, a link replaces nothing."""
    try:
        os.link(aside, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        raise CheckpointError(
            f"cannot write {path}: {error.strerror}; its file system has no hard links, without which a file of "
            f"another process could be replaced: name a file in another file system"
        ) from error
    return True


def _sync_file(path: Path) -> None:
    """Make a file's content survive a power cut."""
    with path.open("r+b") as file:  # Windows flushes only what is open for writing
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut, where the system can; each file is complete without it."""
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in _NO_FOLDERS:
            raise
