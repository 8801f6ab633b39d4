"""A file as an array whose pages are read when they are used, and forgotten when they no longer are."""

import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PIECE = 1 << 22
"""Bytes of a mapped array that are in memory at a time."""


def map_file(path: Path) -> NDArray[np.uint8]:
    """Map a file's bytes, read-only; pages that are not read take no memory.

    Raises:
        OSError: if it cannot be opened.
        ValueError: if it is empty.
    """
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return np.frombuffer(mapped, np.uint8)


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


def rows_of(array_VD: NDArray[Any], positions_N: NDArray[np.int64]) -> NDArray[Any]:
    """Copy some rows, shape (N, D), and leave no more than a piece of the array in memory meanwhile.

    Linux reads ahead up to 2 MiB around each value, so that a few scattered rows would bring in a whole table.

    Args:
        array_VD: contiguous; of `map_file`, or any other.
        positions_N: in ascending order, in [0, V).
    """
    rows_ND = np.empty((len(positions_N), *array_VD.shape[1:]), array_VD.dtype)
    size = max(1, _PIECE // max(1, array_VD[:1].nbytes))
    for start in range(0, len(array_VD), size):
        first, last = np.searchsorted(positions_N, [start, start + size])
        if first < last:
            rows_ND[first:last] = array_VD[positions_N[first:last]]
            forget(array_VD[start : start + size])
    return rows_ND


def _origin(array: NDArray[Any]) -> tuple[NDArray[Any], mmap.mmap | None]:
    """The array of a whole file that an array is a view of, and its mapping; None where there is none."""
    base: Any = array
    while isinstance(base.base, np.ndarray):
        base = base.base
    buffer = base.base.obj if isinstance(base.base, memoryview) else base.base
    return base, buffer if isinstance(buffer, mmap.mmap) else None
