"""Runs the programs of a document in one session of Python: each sees the names of those before it.

Standard input has the path of a program per line. File descriptor 3 receives `0` when it ended well, else `1`.
What it prints is compared with the file next to it, if there is one, except for numbers: they depend on the processor.
"""

import io
import os
import re
import sys
import traceback
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def without_numbers(text: str) -> list[str]:
    """Lines with every number as `#`, and one blank between words."""
    return [" ".join(_NUMBER.sub("#", line).split()) for line in text.strip().splitlines()]


def run(path: Path, names: dict[str, Any]) -> None:
    """Run a program and compare what it prints."""
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), names)
    finally:
        sys.stdout.write(printed.getvalue())
        sys.stdout.flush()
    expected = path.with_suffix(".txt")
    if expected.exists():
        shown = without_numbers(expected.read_text(encoding="utf-8"))
        found = without_numbers(printed.getvalue())
        assert found == shown, f"the document shows {shown}, the program prints {found}"


def serve() -> None:
    """Run programs until standard input ends."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for line in sys.stdin:
        try:
            run(Path(line.strip()), names)
            status = b"0\n"
        except BaseException:  # noqa: BLE001 - a program may end in any way
            traceback.print_exc()
            status = b"1\n"
        os.write(3, status)


if __name__ == "__main__":
    serve()
