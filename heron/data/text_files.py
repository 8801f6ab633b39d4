"""Files of texts and labels, checked while they are read: CSV, TSV, parquet, and tables of the hub's client.

A TSV file has no quotes: a field is what is between two tabs, as in the files of GLUE.
"""

import csv
import io
import itertools
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heron.data.quiet import quiet_libraries
from heron.data.utf8 import decoded
from heron.errors import DataError, MissingExtraError

_MAX_BYTES = 2**31
_ROWS_AT_ONCE = 1000
SUFFIXES = (".csv", ".tsv", ".parquet")


@dataclass(frozen=True)
class LabelledText:
    """One row of a file.

    Attributes:
        number: its position as spreadsheets count: from 2, since the header is row 1.
        text: the text, not blank.
        label: the label as it is written in the file, without spaces around it.
    """

    number: int
    text: str
    label: str


def read_texts(path: Path, text_column: str, label_column: str) -> list[LabelledText]:
    """Read all rows of a file, in order; further columns are ignored, and blank lines skipped.

    Args:
        path: a file whose name ends in one of `SUFFIXES`.
        text_column: name of the column of texts.
        label_column: name of the column of labels.

    Raises:
        DataError: if the file does not read, lacks a column, or has a row without text or label, or no row.
        MissingExtraError: if a parquet file is read without the library for it.
    """
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path}: expected a file named {', '.join(SUFFIXES)}, found another ending; convert it")
    columns = (text_column, label_column)
    rows = _parquet(path, columns) if path.suffix == ".parquet" else _separated(path, columns)
    return checked_rows(rows, str(path), columns)


def checked_rows(rows: Iterable[tuple[int, Any, Any]], source: str, columns: tuple[str, str]) -> list[LabelledText]:
    """Check texts and labels.

    Args:
        rows: number, text and label of each row.
        source: name of the file or table in errors.
        columns: names of the two columns.

    Raises:
        DataError: if a row has no text or no label, or there is no row.
    """
    checked = []
    for number, text, label in rows:
        for column, value in zip(columns, (text, label), strict=True):
            if value is None or not str(value).strip():
                raise DataError(f"{source}: expected text and label, found no {column} in row {number}; complete it")
        checked.append(LabelledText(number, str(text), str(label).strip()))
    if not checked:
        raise DataError(f"{source}: expected a header and rows, found no row; replace it by a full copy")
    return checked


def _separated(path: Path, columns: tuple[str, str]) -> Iterator[tuple[int, str, str]]:
    """Rows of a CSV or TSV file."""
    is_tsv = path.suffix == ".tsv"
    stream = io.StringIO(_content(path), newline="")
    if is_tsv:
        lines = csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True)
    else:
        lines = csv.reader(stream, strict=True)
    places: list[int] = []
    header: list[str] = []
    number = 0
    try:
        for number, fields in enumerate(lines, start=1):
            if number == 1:
                header, places = fields, _places(fields, columns, str(path))
            elif fields:
                if len(fields) != len(header):
                    raise DataError(
                        f"{path}: expected {len(header)} fields as in row 1, found {len(fields)} in row {number}; "
                        f"complete the row" + ("" if is_tsv else ", and quote fields that hold commas")
                    )
                yield number, fields[places[0]], fields[places[1]]
    except csv.Error as error:
        kind = "TSV" if is_tsv else "CSV"
        raise DataError(
            f"{path}: expected {kind}, found row {number + 1} that does not read ({error}); fix it"
        ) from error


def _check_size(path: Path) -> None:
    if (size := path.stat().st_size) > _MAX_BYTES:
        raise DataError(f"{path}: expected at most {_MAX_BYTES:,} bytes, found {size:,}; take a part of it")


def _content(path: Path) -> str:
    try:
        _check_size(path)
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: expected a file that can be read, found none ({error.strerror}); check it") from error
    return decoded(content, path)


def _places(header: list[str], columns: tuple[str, str], source: str) -> list[int]:
    for column in columns:
        if header.count(column) != 1:
            found = ", ".join(header)[:200] or "nothing"
            raise DataError(
                f"{source}: expected one column {column!r}, found {found}; name the columns as data.text_column and "
                f"data.label_column"
            )
    return [header.index(column) for column in columns]


def _parquet(path: Path, columns: tuple[str, str]) -> Iterator[tuple[int, Any, Any]]:
    """Rows of a parquet file, read as a stream without a copy in the library's cache."""
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError("datasets", "images") from error
    with quiet_libraries(), tempfile.TemporaryDirectory() as locks:
        try:
            _check_size(path)
            table = datasets.Dataset.from_parquet(str(path), cache_dir=locks, streaming=True)
            rows = list(table_rows(table, columns, str(path)))
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            raise DataError(
                f"{path}: expected a parquet file, found one that does not read ({type(error).__name__}); replace it"
            ) from error
    yield from rows


def table_rows(table: Any, columns: tuple[str, str], source: str) -> Iterator[tuple[int, Any, Any]]:
    """Yield number, text and label of the rows of a table of `datasets`.

    Args:
        table: an iterable data set of the library, or a stored one.
        columns: names of the two columns.
        source: name of the table in errors.

    Raises:
        DataError: if it lacks a column.
    """
    _places(list(table.column_names or []), columns, source)
    numbers = itertools.count(2)
    for rows in table.iter(batch_size=_ROWS_AT_ONCE):
        for text, label in zip(rows[columns[0]], rows[columns[1]], strict=True):
            yield next(numbers), text, label
