"""Where local data sets lie."""

import os
from pathlib import Path


def data_folder(name: str, root: Path | None) -> Path:
    """The folder of one data set; it need not exist.

    Args:
        name: the data set.
        root: the folder that holds it; None for the environment variable `HERON_DATA`, else `../shared/data`.
    """
    return (root if root is not None else Path(os.environ.get("HERON_DATA") or "../shared/data")) / name
