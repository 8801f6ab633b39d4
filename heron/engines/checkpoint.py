"""One atomic file per checkpoint: tensors and facts in safetensors, never pickled.

Written aside, flushed to the disk and renamed, so that at any instant the file is the last complete checkpoint.
"""

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from heron.errors import CheckpointError

_FORMAT = "heron-checkpoint-1"
_SYNC_THREADS = 16


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file by new content, or leave it as it was.

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
        # Side by side they share the file system's commits: one after the other each would wait for its own.
        with ThreadPoolExecutor(_SYNC_THREADS) as pool:
            list(pool.map(_sync, paths))
        _sync(paths[0].parent)
    except OSError as error:
        raise CheckpointError(f"cannot write {paths[0].parent}: {error.strerror}; free some space there") from error


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write a checkpoint.

    Args:
        path: the file.
        tensors: tensors by name, on any device.
        facts: JSON-serialisable facts; equal facts give equal bytes.
    """
    text = json.dumps({"format": _FORMAT, "facts": facts}, sort_keys=True, separators=(",", ":"))
    on_cpu = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_atomically(path, save(on_cpu, metadata={"heron": text}))


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint: (tensors, facts).

    Raises:
        CheckpointError: if the file is absent, truncated, or not one of ours.
    """
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("heron", "{}")
            header = json.loads(text)
            if (
                not isinstance(header, dict)
                or header.get("format") != _FORMAT
                or not isinstance(header.get("facts"), dict)
            ):
                raise CheckpointError(f"{path} is not a checkpoint of this version of heron; start a new run")
            return {name: file.get_tensor(name) for name in file.keys()}, header["facts"]  # noqa: SIM118 - no mapping
    except (SafetensorError, json.JSONDecodeError, OSError) as error:
        raise CheckpointError(
            f"cannot read {path}: truncated or not a checkpoint ({error}); remove it to start the run over"
        ) from error


def _sync(path: Path) -> None:
    """Make a file's content, or the names in a folder, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
