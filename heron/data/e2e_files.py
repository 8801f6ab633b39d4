"""The CSV files of the E2E NLG Challenge, checked while they are read.

Novikova, Dusek and Rieser, "The E2E Dataset: New Challenges for End-to-End Generation", SIGDIAL 2017, release 1.0.0 of
`tuetschek/e2e-dataset`. A file has the header `mr,ref`: a meaning representation and a sentence written for it.
"""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from heron.data.folder import data_folder
from heron.data.utf8 import decoded
from heron.errors import DataError

COLUMNS = ["mr", "ref"]
# About thirty times the largest file of the release.
_MAX_BYTES = 2**28


@dataclass(frozen=True)
class Row:
    """One row of a file.

    Attributes:
        number: its position in the file as spreadsheets count: from 2, since the header is row 1.
        mr: meaning representation, such as `name[The Mill], eatType[pub]`.
        ref: its human reference.
    """

    number: int
    mr: str
    ref: str


def read_rows(splits: tuple[str, ...], root: Path | None) -> list[list[Row]]:
    """Read all rows of some files, in order; blank lines between rows are skipped.

    Args:
        splits: names of the files, without `.csv`.
        root: folder that contains `e2e/`; the default is that of `data_folder`.

    Raises:
        DataError: if a file is absent or not in this format.
    """
    folder = data_folder("e2e", root)
    paths = [folder / f"{split}.csv" for split in splits]
    if absent := [path.name for path in paths if not path.is_file()]:
        raise DataError(
            f"E2E: expected {', '.join(path.name for path in paths)} in {folder.absolute()}, found no "
            f"{' and no '.join(absent)}; get trainset.csv, devset.csv and testset_w_refs.csv of the E2E NLG Challenge "
            f"(github.com/tuetschek/e2e-dataset), name them train.csv, dev.csv and test.csv, and set HERON_DATA to the "
            f"folder that holds e2e/"
        )
    return [_rows(path) for path in paths]


def _rows(path: Path) -> list[Row]:
    lines = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    rows: list[Row] = []
    number = 0
    try:
        for number, fields in enumerate(lines, start=1):
            if number == 1:
                _check_header(fields, path)
            elif fields:
                rows.append(_row(number, fields, path))
    except csv.Error as error:
        raise DataError(
            f"{path}: expected CSV, found a row {number + 1} that does not read ({error}); fix it"
        ) from error
    if not rows:
        raise DataError(f"{path}: expected a header mr,ref and rows, found no row; replace it by a full copy")
    return rows


def _text(path: Path) -> str:
    try:
        if (size := path.stat().st_size) > _MAX_BYTES:
            raise DataError(f"{path}: expected at most {_MAX_BYTES:,} bytes, found {size:,}; get the file of E2E NLG")
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: expected a file that can be read ({error.strerror}); check its rights") from error
    return decoded(content, path)


def _check_header(fields: list[str], path: Path) -> None:
    if fields != COLUMNS:
        raise DataError(f"{path}: expected the columns mr,ref in row 1, found {','.join(fields)!r}; rename the columns")


def _row(number: int, fields: list[str], path: Path) -> Row:
    if len(fields) != len(COLUMNS):
        raise DataError(
            f"{path}: expected 2 fields, mr and ref, found {len(fields)} in row {number}; complete the row, and quote "
            f"fields that hold commas"
        )
    for name, field in zip(COLUMNS, fields, strict=True):
        if not field.strip():
            raise DataError(f"{path}: expected 2 fields, mr and ref, found no {name} in row {number}; complete the row")
    return Row(number, *fields)
