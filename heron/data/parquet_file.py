"""Examples of a client without PyTorch in a parquet file.

The file is read in a process of its own: pyarrow ends the process at some damaged files, and would take more memory of
the client's than the client does.
"""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from heron.arrays import numpy_dtype
from heron.data.arrays_file import MAX_BYTES, ArrayExamples
from heron.data.example_rows import ExampleForm
from heron.data.parquet_rows import unreadable
from heron.errors import DataError, MissingExtraError

_PROGRAM = "import sys; sys.path[:] = {path!r}; from heron.data.parquet_rows import main; main()"


def read_parquet(path: Path, form: ExampleForm) -> ArrayExamples:
    """Read examples.

    Args:
        path: the file.
        form: the client's.

    Raises:
        DataError: if it cannot be read, is too large, or holds no such examples, naming the row.
        MissingExtraError: if a library that reads it is not installed.
    """
    if find_spec("pyarrow") is None:
        raise MissingExtraError("pyarrow", "tables")
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; name a file of examples") from error
    if size > MAX_BYTES:
        raise DataError(f"{path}: expected at most {MAX_BYTES:,} bytes, found {size:,}; take a part of it")
    told, arrays = _answer(_PROGRAM.format(path=sys.path), json.dumps((str(path), form.to_json())).encode())
    if "missing" in told:
        raise MissingExtraError("pillow", "tables")
    if "error" in told:
        raise DataError(told["error"])
    if len(arrays) != 2:
        raise DataError(unreadable(path))
    return ArrayExamples(*arrays, pixels=form.pixels if told["pixels"] else None)


def _answer(program: str, request: bytes) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """Run a program, and read what it says: nothing, if it ends before it has said all."""
    words = [sys.executable, "-c", program]
    with subprocess.Popen(  # noqa: S603 - this Python, and a program of this package
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            with child.stdin:
                child.stdin.write(request)
            told: dict[str, Any] = json.loads(child.stdout.readline())
            return told, [_array(child.stdout, *each) for each in told.get("arrays", [])]
        except (BrokenPipeError, ValueError):
            return {}, []


def _array(stream: IO[bytes], dtype: str, shape: list[int]) -> NDArray[Any]:
    """Read one array; ValueError if it ends too early."""
    content = bytearray(stream.read(int(np.prod(shape, dtype=np.int64)) * numpy_dtype(dtype).itemsize))
    return np.frombuffer(content, numpy_dtype(dtype)).reshape(shape)
