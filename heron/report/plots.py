"""Learning curves as a PNG. The only place that knows the plotting library (extra `plots`)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from heron.errors import MissingExtraError

Metrics = Mapping[str, Any]
# Okabe and Ito's palette: told apart by colour-blind readers too.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MIB = 2**20


def plot_learning_curves(runs: Mapping[str, Sequence[Sequence[Metrics]]], path: Path) -> None:
    """Test accuracy against rounds and against uplink traffic: one line per algorithm, a band for the seeds.

    Args:
        runs: metrics rows of each algorithm's runs, one list per seed.
        path: PNG file to write.

    Raises:
        MissingExtraError: if the plotting library is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "plots") from error
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    by_round, by_bytes = figure.subplots(1, 2, sharey=True)
    for (algorithm, metrics), colour in zip(runs.items(), _colours(len(runs)), strict=True):
        rows = [[row for row in run if row.get("test_accuracy") is not None] for run in metrics]
        length = min((len(run) for run in rows), default=0)
        if length == 0:
            continue
        curves = [[100 * row["test_accuracy"] for row in run[:length]] for run in rows]
        mean = [sum(values) / len(values) for values in zip(*curves, strict=True)]
        low = [min(values) for values in zip(*curves, strict=True)]
        high = [max(values) for values in zip(*curves, strict=True)]
        for axes, positions in (
            (by_round, [row["round"] for row in rows[0][:length]]),
            (by_bytes, [row["uplink_bytes"] / _MIB for row in rows[0][:length]]),
        ):
            axes.plot(positions, mean, label=algorithm, color=colour, marker="." if length == 1 else None)
            axes.fill_between(positions, low, high, color=colour, alpha=0.15, linewidth=0)
    by_round.set(xlabel="round", ylabel="test accuracy (%)")
    by_bytes.set(xlabel="uplink, all clients (MiB)")
    for axes in (by_round, by_bytes):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    title = "band: all seeds" if any(len(metrics) > 1 for metrics in runs.values()) else None
    by_round.legend(frameon=False, title=title)
    figure.savefig(path, dpi=140)


def _colours(count: int) -> list[str]:
    return [_COLOURS[index % len(_COLOURS)] for index in range(count)]
