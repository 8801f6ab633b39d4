"""Locations of local data sets and models."""

import os
from pathlib import Path

from platformdirs import user_cache_path


def data_folder(name: str, root: Path | None) -> Path:
    """The folder of one data set; it need not exist.

    Args:
        name: the data set.
        root: the folder that contains it; None for the environment variable `HERON_DATA`, else `heron/data` in the
            user's cache folder (`~/.cache/heron/data` on Linux).
    """
    return (_data_root() if root is None else root) / name


def model_folder(name: str) -> Path:
    """The folder of one model in `models/` next to the data; it need not exist.

    Args:
        name: the model.
    """
    return _data_root().parent / "models" / name


def _data_root() -> Path:
    return Path(os.environ.get("HERON_DATA") or user_cache_path("heron", appauthor=False) / "data")
