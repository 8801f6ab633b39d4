"""Learning curves as a PNG, and what every figure shares. Only `heron.report` knows the plotting library."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from heron.errors import MissingExtraError

Metrics = Mapping[str, Any]
# Okabe and Ito's palette, grey for its yellow: told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
_MIB = 2**20


def plot_learning_curves(runs: Mapping[str, Sequence[Sequence[Metrics]]], path: Path) -> None:
    """Test accuracy against rounds and against uplink traffic: one line per algorithm, a band for the seeds.

    Args:
        runs: metrics rows of each algorithm's runs, one list per seed.
        path: PNG file to write.

    Raises:
        MissingExtraError: if the plotting library is not installed.
    """
    figure = new_figure(11, 4.5)
    by_round, by_bytes = figure.subplots(1, 2, sharey=True)
    for index, (algorithm, metrics) in enumerate(runs.items()):
        draw_curve(by_round, by_bytes, metrics, label=algorithm, color=COLOURS[index % len(COLOURS)])
    finish_curves(by_round, by_bytes)
    by_round.legend(frameon=False, title=band_note(list(runs.values())))
    save(figure, path)


def new_figure(width_inches: float, height_inches: float) -> Any:
    """An empty figure that draws without a display.

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
    """Write the PNG."""
    figure.savefig(path, dpi=140)


def draw_curve(by_round: Any, by_bytes: Any, metrics: Sequence[Sequence[Metrics]], **look: Any) -> None:
    """The mean of several seeds' test accuracy in both panels, with a band from the lowest to the highest.

    Args:
        by_round: axes over rounds.
        by_bytes: axes over uplink traffic.
        metrics: metrics rows, one list per seed.
        look: label, colour and style of the line.
    """
    rows = [[row for row in run if row.get("test_accuracy") is not None] for run in metrics]
    length = min((len(run) for run in rows), default=0)
    if length == 0:
        return
    curves = [[100 * row["test_accuracy"] for row in run[:length]] for run in rows]
    mean = [sum(values) / len(values) for values in zip(*curves, strict=True)]
    low = [min(values) for values in zip(*curves, strict=True)]
    high = [max(values) for values in zip(*curves, strict=True)]
    for axes, positions in (
        (by_round, [row["round"] for row in rows[0][:length]]),
        (by_bytes, [row["uplink_bytes"] / _MIB for row in rows[0][:length]]),
    ):
        axes.plot(positions, mean, marker="." if length == 1 else None, **look)
        axes.fill_between(positions, low, high, color=look["color"], alpha=0.15, linewidth=0)


def finish_curves(by_round: Any, by_bytes: Any) -> None:
    """Name and tidy the axes of the learning curves."""
    by_round.set(xlabel="round", ylabel="test accuracy (%)")
    by_round.xaxis.get_major_locator().set_params(integer=True)
    by_bytes.set(xlabel="uplink, all clients (MiB)")
    for axes in (by_round, by_bytes):
        tidy(axes)


def tidy(axes: Any) -> None:
    """A light grid, no box."""
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def band_note(metrics: Sequence[Sequence[Sequence[Metrics]]]) -> str | None:
    """What the bands are, where there are any."""
    return "band: all seeds" if any(len(runs) > 1 for runs in metrics) else None
