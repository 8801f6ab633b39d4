"""Examples of a parquet file, read by pyarrow some rows at a time: what the process of `heron.data.parquet_file` does.

A cell holds a number, a list of numbers, or an encoded image, as it is or as the field `bytes` of a struct, as the
Hugging Face hub stores images.
"""

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from heron.data.arrays_file import MAX_BYTES, ArrayExamples
from heron.data.example_rows import ExampleForm, ExampleRows, layout_of
from heron.data.images import ImageReader
from heron.errors import DataError, MissingExtraError

_ROWS_AT_ONCE = 64
_MAX_NUMBERS = MAX_BYTES // 4
_MAX_MEMORY = 4 * MAX_BYTES


def main() -> None:
    """Read the file that standard input names, and write the examples to standard output: a line of JSON, and bytes."""
    with suppress(ImportError, ValueError, OSError):  # a system without such limits
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, _MAX_MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    path, form = json.loads(sys.stdin.buffer.read())
    arrays: list[Any] = []
    try:
        examples = read_rows(Path(path), ExampleForm.from_json(form))
        arrays = [examples.inputs, examples.labels]
        told: dict[str, Any] = {"arrays": [(array.dtype.name, array.shape) for array in arrays]}
        told["pixels"] = examples.pixels is not None
    except MissingExtraError as error:
        told = {"missing": str(error)}
    except DataError as error:
        told = {"error": str(error)}
    sys.stdout.buffer.write(json.dumps(told).encode() + b"\n")
    for array in arrays:
        sys.stdout.buffer.write(np.ascontiguousarray(array).data)


def read_rows(path: Path, form: ExampleForm) -> ArrayExamples:
    """Read examples. Arguments and errors as of `heron.data.parquet_file.read_parquet`.

    pyarrow ends the process at some damaged files.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path, memory_map=True) as file:
            return _read(file, form, str(path))
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, MemoryError, OverflowError) as error:
        raise DataError(unreadable(path)) from error


def unreadable(path: Path) -> str:
    """Say that a file cannot be read."""
    return f"{path}: expected a parquet file, found one that does not read; replace it"


def _read(file: Any, form: ExampleForm, source: str) -> ArrayExamples:
    layout = layout_of(file.schema_arrow.names, form, source, images=True)
    images = ImageReader(form.inputs, form.pixels, source) if layout.kind == "image" else None
    columns = [*layout.inputs, layout.labels]
    _check_count(file.metadata, {*columns}, source)
    rows = ExampleRows(form, layout, source)
    number = 0
    for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=columns, use_threads=False):
        inputs = [batch.column(name) for name in layout.inputs]
        for place, label in enumerate(batch.column(layout.labels)):
            number += 1
            cells = [column[place] for column in inputs]
            if images is not None:
                found: Any = images.read(_bytes(cells[0]), number)
            else:
                found = _numbers(cells[0]) if len(cells) == 1 else np.array([cell.as_py() for cell in cells])
            rows.add(number, found, _numbers(label))
    return rows.examples()


def _check_count(metadata: Any, columns: set[str], source: str) -> None:
    """Refuse a file that says of itself that it is too large: few bytes may stand for many equal numbers."""
    total = 0
    for group in (metadata.row_group(place) for place in range(metadata.num_row_groups)):
        for place in range(group.num_columns):
            column = group.column(place)
            if column.path_in_schema.split(".")[0] in columns:
                total += max(column.num_values, column.total_uncompressed_size // 4)
    if total > _MAX_NUMBERS:
        raise DataError(f"{source}: expected at most {_MAX_NUMBERS:,} numbers, found {total:,}; take a part of it")


def _numbers(cell: Any) -> Any:
    """Numbers of a cell: one, or those of a list of any depth; none where it is empty."""
    values = getattr(cell, "values", None)
    if values is None:
        return np.array([]) if cell.as_py() is None else np.array(cell.as_py())
    while hasattr(values, "flatten") and str(values.type).startswith(("list", "large_list", "fixed_size_list")):
        values = values.flatten()
    return values.to_numpy(zero_copy_only=False)


def _bytes(cell: Any) -> bytes | None:
    """The encoded image of a cell; None where there is none."""
    value = cell.as_py()
    if isinstance(value, dict):
        value = value.get("bytes")
    return value if isinstance(value, bytes) else None
