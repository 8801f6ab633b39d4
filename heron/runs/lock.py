"""Lock of a run directory: one process at a time trains in it.

The operating system holds the lock and lets it go when its process ends, however that ends. `owner.json` tells people
whose it is. Both files are there as long as the lock is held, so what is left over tells of a process that was killed.
"""

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heron.errors import CheckpointError
from heron.runs.run_directory import read_json, write_json

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOCK = "run.lock"
OWNER = "owner.json"


@contextmanager
def locked(directory: Path, told: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a run directory while the block runs.

    Args:
        directory: the folder; created if absent.
        told: called with one line if the lock of a process that was killed is taken over.

    Raises:
        CheckpointError: if another process holds it, or one of another host may hold it; or if the folder cannot be
            written.
    """
    from filelock import FileLock, Timeout

    is_new = not directory.exists()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = FileLock(directory / LOCK, timeout=0, thread_local=False)
        lock.acquire()
    except Timeout:
        raise CheckpointError(
            f"expected {directory} without another process at work in it, found {_text(_owner(directory))}; wait for "
            f"its end, stop it, or choose another folder"
        ) from None
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"cannot lock {directory}: {reason}; choose a writable folder of a local disk") from error
    try:
        _take_over(directory, told)
        write_json(directory / OWNER, _ourselves())
        try:
            yield
        finally:
            (directory / OWNER).unlink(missing_ok=True)
    finally:
        _release(lock, directory, is_new=is_new)


def _release(lock: "BaseFileLock", directory: Path, *, is_new: bool) -> None:
    """Let the lock go and leave no trace of it; a folder that was made for it and is empty goes, too."""
    with suppress(OSError):  # held still, so that nobody else has it; Windows keeps a file that is open
        (directory / LOCK).unlink()
    lock.release()
    with suppress(OSError):
        if os.name == "nt":
            (directory / LOCK).unlink()
        if is_new:
            directory.rmdir()


def _take_over(directory: Path, told: Callable[[str], None]) -> None:
    """Pass by the owner of a lock that this host no longer holds; refuse that of another host, which may still run."""
    owner = _owner(directory)
    if owner is None:
        return
    if owner["host"] == platform.node():
        told(f"{directory}: took over the lock of {_text(owner)}, which has ended without releasing it")
        return
    raise CheckpointError(
        f"expected {directory} without another process at work in it, found {_text(owner)}, which cannot be seen from "
        f"here; once it has ended, remove {directory / OWNER}"
    )


def _ourselves() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": platform.node(), "since": datetime.now(UTC).isoformat(timespec="seconds")}


def _owner(directory: Path) -> dict[str, Any] | None:
    """The owner as it is written; None if there is none or a crash has left the file unreadable."""
    try:
        owner = read_json(directory / OWNER)
    except CheckpointError:
        return None
    return owner if isinstance(owner, dict) and owner.keys() >= _ourselves().keys() else None


def _text(owner: dict[str, Any] | None) -> str:
    if owner is None:
        return "one that has not told its name yet"
    return f"process {owner['pid']} of host {owner['host']}, at work since {owner['since']}"
