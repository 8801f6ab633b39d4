"""Examples in a file of NumPy arrays, for a client without PyTorch."""

import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from heron.data.batch import IGNORED, Batch
from heron.data.pixels import Pixels
from heron.errors import DataError

MAX_BYTES = 2**31
"""Largest file, and largest arrays, of examples that are read."""
_NAMES = ("inputs", "labels")
# All that NumPy, zipfile and zlib are known to raise at damaged files; MemoryError at a header that claims too much.
_DAMAGED = (
    ValueError,
    KeyError,
    EOFError,
    AttributeError,
    TypeError,
    RuntimeError,
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
)


class ArrayExamples:
    """Examples in two arrays.

    Args:
        inputs: shape (n, ...).
        labels: shape (n, ...).
        pixels: scaling of inputs that are whole-number pixels, batch by batch; None for inputs that are as in training.

    Raises:
        DataError: if there are none, or more of one than of the other.
    """

    def __init__(self, inputs: NDArray[Any], labels: NDArray[Any], *, pixels: Pixels | None = None) -> None:
        if not inputs.ndim or not labels.ndim or len(inputs) != len(labels) or not len(labels):
            raise DataError(
                f"expected as many inputs as labels, at least one, found shapes {inputs.shape} and {labels.shape}"
            )
        self.inputs = inputs
        self.labels = labels
        self.pixels = pixels

    def __len__(self) -> int:
        """Return the number of examples, n."""
        return len(self.labels)

    def batch(self, positions: NDArray[np.int64], seed: int) -> Batch:  # noqa: ARG002 - nothing is drawn
        """Return the examples at some positions; of texts, as far as a label counts."""
        inputs, labels = self.inputs[positions], self.labels[positions]
        if self.pixels is not None:
            inputs = self.pixels.scaled(inputs)
        length = _length(inputs, labels)
        return Batch(inputs, labels) if length is None else Batch(inputs[:, :length], labels[:, :length])


def read_arrays(path: Path) -> ArrayExamples:
    """Read examples from a file that `numpy.savez` has written; nothing in it can run code.

    Args:
        path: a file `.npz` with the arrays `inputs`, shape (n, ...), and `labels`, shape (n, ...). Texts are integers
            of shape (n, T), padded on the right, with labels of `IGNORED` where none counts.

    Raises:
        DataError: if it cannot be read, or holds no such arrays.
    """
    try:
        with path.open("rb") as stream:
            _check_size(stream, path)
            with np.load(stream, allow_pickle=False) as file:
                inputs, labels = (file[name] for name in _NAMES)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; name a file of numpy.savez") from error
    except _DAMAGED as error:
        raise DataError(
            f"{path}: expected arrays named {' and '.join(_NAMES)} as numpy.savez writes them, found another file"
        ) from error
    return ArrayExamples(inputs, labels)


def _check_size(stream: IO[bytes], path: Path) -> None:
    """Refuse arrays that unpack to more than is read, before any is unpacked."""
    with zipfile.ZipFile(stream) as archive:
        size = sum(part.file_size for part in archive.infolist())
    if size > MAX_BYTES:
        raise DataError(f"{path}: expected at most {MAX_BYTES:,} bytes of examples, found {size:,}; take a part of it")
    stream.seek(0)


def _length(inputs: NDArray[Any], labels: NDArray[Any]) -> int | None:
    """The longest text of a batch, which needs no more padding; None where examples are no texts."""
    if inputs.ndim != 2 or labels.shape != inputs.shape or {inputs.dtype.kind, labels.dtype.kind} - {"i"}:
        return None
    counted = np.flatnonzero((labels != IGNORED).any(axis=0))
    return int(counted[-1]) + 1 if counted.size else None
