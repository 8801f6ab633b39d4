"""Learning curves as a PNG, and code that all figures share. Only `heron.report` knows the plotting library."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from heron.analysis import Quality, quality_of
from heron.errors import MissingExtraError
from heron.files import write_atomically
from heron.report.curves import Metrics, SeedCurve

# Okabe and Ito's palette, which colour-blind readers can distinguish, with grey in place of its yellow.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
_MIB = 2**20


def plot_learning_curves(runs: Mapping[str, Sequence[Sequence[Metrics]]], path: Path) -> None:
    """Plot test quality against rounds, uplink traffic and, if known, simulated time.

    One line per algorithm, a band for the seeds.

    Args:
        runs: rows of metrics of each algorithm's runs, one list per seed.
        path: PNG file to write.

    Raises:
        ReportError: if some runs are judged by accuracy and others by perplexity.
        MissingExtraError: if the plotting library is not installed.
        CheckpointError: if the file cannot be written.
    """
    quality = quality_of(row for of_algorithm in runs.values() for run in of_algorithm for row in run)
    simulated = has_simulated(list(runs.values()))
    figure = new_figure(15 if simulated else 11, 4.5)
    panels = figure.subplots(1, 3 if simulated else 2, sharey=True)
    for index, (algorithm, metrics) in enumerate(runs.items()):
        draw_curve(panels, metrics, quality, label=algorithm, color=COLOURS[index % len(COLOURS)])
    finish_curves(panels, quality)
    by_round = panels[0]
    by_round.legend(frameon=False, title=band_note(list(runs.values())))
    save(figure, path)


def new_figure(width_inches: float, height_inches: float) -> Any:
    """Create an empty figure that needs no display.

    Raises:
        MissingExtraError: if the plotting library is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "plots") from error
    figure = Figure(figsize=(width_inches, height_inches), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Any, path: Path) -> None:
    """Write a figure as a PNG file.

    Raises:
        CheckpointError: if it cannot be written.
    """
    content = io.BytesIO()
    figure.savefig(content, dpi=140, format="png")
    write_atomically(path, content.getvalue())


def has_simulated(metrics: Sequence[Sequence[Sequence[Metrics]]]) -> bool:
    """Return whether any run has simulated time."""
    return any("simulated_s" in row for runs in metrics for run in runs for row in run[:1])


def draw_curve(panels: Sequence[Any], metrics: Sequence[Sequence[Metrics]], quality: Quality, **look: Any) -> None:
    """Draw the mean test quality of several seeds in all panels, with a band from the lowest to the highest.

    Args:
        panels: axes over rounds, over uplink traffic and, optionally, over simulated time.
        metrics: rows of metrics, one list per seed.
        quality: the measure that judges the runs.
        look: label, colour and style of the line.
    """
    curve = SeedCurve.of(metrics, quality)
    if not curve.points:
        return
    each = (curve.rounds, [count / _MIB for count in curve.uplink_bytes], curve.simulated_s)
    for axes, positions in zip(panels, each, strict=False):
        if not positions:
            continue
        axes.plot(positions, curve.mean, marker="." if len(curve.points) == 1 else None, **look)
        axes.fill_between(positions, curve.low, curve.high, color=look["color"], alpha=0.15, linewidth=0)


def finish_curves(panels: Sequence[Any], quality: Quality) -> None:
    """Label and tidy the axes of the learning curves, which share the vertical axis."""
    by_round, by_bytes, *by_time = panels
    by_round.set(xlabel="round", ylabel=quality.axis)
    by_round.xaxis.get_major_locator().set_params(integer=True)
    by_bytes.set(xlabel="uplink, all clients (MiB)")
    for axes in by_time:
        axes.set(xlabel="simulated time (s)")
    for axes in panels:
        tidy(axes)
        scale_quality(axes, quality)


def scale_quality(axes: Any, quality: Quality) -> None:
    """Make the vertical axis logarithmic if the measure is, with ticks and lines between the decades."""
    if not quality.logarithmic or not axes.lines:
        return
    from matplotlib.ticker import LogFormatter

    axes.set_yscale("log")
    for set_formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        set_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
    axes.grid(visible=True, which="minor", axis="y", alpha=0.15)


def tidy(axes: Any) -> None:
    """Give axes a light grid and no box."""
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def band_note(metrics: Sequence[Sequence[Sequence[Metrics]]]) -> str | None:
    """Note that explains the bands, or None if there are none."""
    return "band: all seeds" if any(len(runs) > 1 for runs in metrics) else None
