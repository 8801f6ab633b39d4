"""Progress of long work on stderr: a live bar on a terminal, otherwise an occasional line."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from heron.analysis import quality_of
from heron.runs.run_directory import Metrics

_LINES = 10


class RoundObserver(Protocol):
    """Observer that is called with each round's metrics."""

    def __call__(self, row: Metrics) -> None:
        """Show the round."""
        ...


@contextmanager
def round_progress(label: str, *, done: int, total: int) -> Iterator[RoundObserver]:
    """Show the rounds of a run as they finish, with rate and estimated remaining time.

    Args:
        label: name of the work.
        done: number of rounds finished in an earlier session.
        total: number of rounds of the run.
    """
    with total_progress(label, done=done, total=total) as show:

        def observe(row: Metrics) -> None:
            show(row["round"], _note(row))

        yield observe


@contextmanager
def total_progress(label: str, *, done: int, total: int, unit: str = "round") -> Iterator[Callable[..., None]]:
    """Show a count, e.g. of rounds of one run or of several, with rate and estimated remaining time.

    Args:
        label: name of the work.
        done: number of units finished before.
        total: number of units in all.
        unit: name of the unit.

    Yields:
        `show(finished, note="")`: function that shows the number of units finished so far.
    """
    console = Console(stderr=True)
    started = time.perf_counter()

    def rate(finished: int) -> float:
        return (finished - done) / max(time.perf_counter() - started, 1e-9)

    if not console.is_terminal:
        yield _plain(label, done, total, unit, rate)
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

        def show(finished: int, note: str = "") -> None:
            progress.update(task, completed=finished, note=note, rate=f"{rate(finished):.3g} {unit}s/s")

        yield show


def _plain(label: str, done: int, total: int, unit: str, rate: Callable[[int], float]) -> Callable[..., None]:
    """Function that writes progress without a terminal: a line at once, and about ten more in all."""
    period = max(1, total // _LINES)
    shown = done
    if done < total:
        sys.stderr.write(f"{label}: {unit} {done}/{total}\n")
        sys.stderr.flush()

    def show(finished: int, note: str = "") -> None:
        nonlocal shown
        if finished == shown or (finished // period == shown // period and finished != total):
            return
        shown = finished
        speed = rate(finished)
        eta_s = (total - finished) / speed
        sys.stderr.write(f"{label}: {unit} {finished}/{total}  {note}  {speed:.3g} {unit}s/s  ETA {eta_s:.0f} s\n")
        sys.stderr.flush()

    return show


def _note(row: Metrics) -> str:
    quality, loss = quality_of([row]), row["train_loss"]
    value = quality.of(row)
    return ("" if loss is None else f"loss {loss:.3f}") + (
        "" if value is None else f"  {quality.name} {quality.text(value)}{quality.unit}"
    )
