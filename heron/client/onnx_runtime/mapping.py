"""A file as an array whose pages are read when they are used, and forgotten when they no longer are."""

import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def map_file(path: Path) -> NDArray[np.uint8]:
    """Map a file's bytes, read-only; pages that are not read take no memory.

    Raises:
        OSError: if it cannot be opened.
        ValueError: if it is empty.
    """
    with path.open("rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)


def forget(array: NDArray[Any]) -> None:
    """Give an array's pages back to the system, which reads them again when they are used; its values stay.

    Args:
        array: contiguous; of `map_file`, or any other, which is left alone.
    """
    whole, found = _origin(array)
    if found is None or not hasattr(mmap, "MADV_DONTNEED"):
        return
    first = array.ctypes.data - whole.ctypes.data
    start = first - first % mmap.PAGESIZE
    found.madvise(mmap.MADV_DONTNEED, start, first + array.nbytes - start)


def _origin(array: NDArray[Any]) -> tuple[NDArray[Any], mmap.mmap | None]:
    """The array of a whole file that an array is a view of, and its mapping; None where there is none."""
    base: Any = array
    while isinstance(base.base, np.ndarray):
        base = base.base
    buffer = base.base.obj if isinstance(base.base, memoryview) else base.base
    return base, buffer if isinstance(buffer, mmap.mmap) else None
