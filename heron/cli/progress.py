"""Progress of long work on stderr: a live bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from heron.engines import Metrics

_LINES = 10


class RoundObserver(Protocol):
    """Called with each round's metrics."""

    def __call__(self, row: Metrics) -> None:
        """Show the round."""
        ...


@contextmanager
def round_progress(label: str, *, done: int, total: int) -> Iterator[RoundObserver]:
    """Show rounds as they finish, with rate and ETA.

    Args:
        label: what is running.
        done: rounds finished in an earlier session.
        total: rounds of the run.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain(label, done, total)
        return
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(label, total=total, completed=done, note="", rate="")
        started = time.perf_counter()

        def observe(row: Metrics) -> None:
            rate = (row["round"] - done) / max(time.perf_counter() - started, 1e-9)
            progress.update(task, completed=row["round"], note=_note(row), rate=f"{rate:.2g} rounds/s")

        yield observe


def _plain(label: str, done: int, total: int) -> RoundObserver:
    started = time.perf_counter()
    period = max(1, total // _LINES)

    def observe(row: Metrics) -> None:
        number = row["round"]
        if number % period and number != total:
            return
        rate = (number - done) / max(time.perf_counter() - started, 1e-9)
        sys.stderr.write(
            f"{label}: round {number}/{total}  {_note(row)}  {rate:.2g} rounds/s  ETA {(total - number) / rate:.0f} s\n"
        )
        sys.stderr.flush()

    return observe


def _note(row: Metrics) -> str:
    accuracy = row.get("test_accuracy")
    return f"loss {row['train_loss']:.3f}" + ("" if accuracy is None else f"  accuracy {100 * accuracy:.1f}%")
