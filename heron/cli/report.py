"""`heron report`: saved runs as one HTML page."""

import sys
from collections.abc import Sequence
from pathlib import Path

from heron.report import write_report

PAGE = "report.html"


def report_command(runs: Sequence[Path], out: Path | None) -> None:
    """Write the page, say what was amiss and where the page is."""
    path = out or (runs[0] / PAGE if len(runs) == 1 else Path(PAGE))
    warn(write_report(runs, path))
    sys.stdout.write(f"{path}\n")


def warn(warnings: Sequence[str]) -> None:
    """Say what is amiss, a line each."""
    for warning in warnings:
        sys.stderr.write(f"heron: warning: {warning}\n")
