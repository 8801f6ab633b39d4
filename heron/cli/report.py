"""`heron report`: saved runs on one HTML page."""

import sys
from collections.abc import Sequence
from pathlib import Path

from heron.report import write_report

PAGE = "report.html"


def report_command(runs: Sequence[Path], out: Path | None) -> None:
    """Write the page, then print warnings and the path of the page."""
    path = out or (runs[0] / PAGE if len(runs) == 1 else Path(PAGE))
    warn(write_report(runs, path))
    sys.stdout.write(f"{path}\n")


def warn(warnings: Sequence[str]) -> None:
    """Print warnings, one line each."""
    for warning in warnings:
        sys.stderr.write(f"heron: warning: {warning}\n")
