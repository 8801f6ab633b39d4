"""Examples of a client without PyTorch in a CSV file, read as a stream.

A cell holds one number, or all numbers of an input or a label, with blanks between them.
"""

import csv
from pathlib import Path

from heron.data.arrays_file import MAX_BYTES, ArrayExamples
from heron.data.example_rows import ExampleForm, ExampleRows, layout_of
from heron.errors import DataError


def read_csv(path: Path, form: ExampleForm) -> ArrayExamples:
    """Read examples; the first row names the columns, and blank lines are skipped.

    Args:
        path: a file of UTF-8.
        form: the client's.

    Raises:
        DataError: if it cannot be read, is too large, or holds no such examples, naming the row.
    """
    number = 0
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise DataError(f"{path}: expected at most {MAX_BYTES:,} bytes, found {size:,}; take a part of it")
        with path.open(encoding="utf-8-sig", newline="") as stream:
            lines = csv.reader(stream, strict=True)
            header = [name.strip() for name in next(lines, [])]
            layout = layout_of(header, form, str(path), images=False)
            rows = ExampleRows(form, layout, str(path))
            places, label = [header.index(name) for name in layout.inputs], header.index(layout.labels)
            for number, fields in enumerate(lines, start=2):
                if not fields:
                    continue
                if len(fields) != len(header):
                    raise DataError(
                        f"{path}: expected {len(header)} fields as in row 1, found {len(fields)} in row {number}; "
                        f"complete it"
                    )
                inputs = [fields[place] for place in places] if len(places) > 1 else fields[places[0]].split()
                rows.add(number, inputs, fields[label].split())
            return rows.examples()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; name a file of examples") from error
    except (csv.Error, UnicodeDecodeError) as error:
        reason = "other bytes" if isinstance(error, UnicodeDecodeError) else str(error)
        raise DataError(
            f"{path}: expected CSV in UTF-8, found {reason} after row {max(1, number)}; save it so"
        ) from error
