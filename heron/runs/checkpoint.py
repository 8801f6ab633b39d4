"""One atomic file per checkpoint: tensors and JSON facts in safetensors, never pickled.

A checkpoint is written to another file, flushed to the disk and renamed, so the last complete one is always there.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from heron.errors import CheckpointError
from heron.files import write_atomically

_FORMAT = "heron-checkpoint-1"


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
        CheckpointError: if the file is absent, truncated, or not a checkpoint of heron.
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
            # Copies: a tensor that maps the file would keep Windows from replacing it by the next checkpoint.
            names = file.keys()
            return {name: file.get_tensor(name).clone() for name in names}, header["facts"]
    except (SafetensorError, json.JSONDecodeError, OSError) as error:
        raise CheckpointError(
            f"cannot read {path}: truncated or not a checkpoint ({error}); remove it to start the run over"
        ) from error
