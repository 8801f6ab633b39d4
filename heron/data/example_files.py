"""Files of examples for a client without PyTorch."""

from pathlib import Path

from heron.data.arrays_file import ArrayExamples, read_arrays
from heron.data.example_rows import ExampleForm
from heron.errors import DataError

SUFFIXES = (".npz", ".csv", ".parquet")


def load_examples(path: Path, form: ExampleForm) -> ArrayExamples:
    """Read examples; nothing in a file can run code.

    Args:
        path: a file whose name ends in one of `SUFFIXES`.
        form: the client's.

    Raises:
        DataError: if it cannot be read, or holds no such examples.
        MissingExtraError: if a parquet file is read without the library for it.
    """
    if path.suffix == ".npz":
        return read_arrays(path)
    if path.suffix == ".csv":
        from heron.data.csv_file import read_csv

        return read_csv(path, form)
    if path.suffix == ".parquet":
        from heron.data.parquet_file import read_parquet

        return read_parquet(path, form)
    raise DataError(f"expected a file named {', '.join(SUFFIXES)}, found {path.name!r}; convert it")
