"""Table and picture of `heron analyze`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from heron.report.plots import COLOURS, new_figure, save
from heron.report.tables import console_or_pipe

Row = Mapping[str, Any]


def print_analysis(source: str, rows: Sequence[Row]) -> None:
    """Print a row for each analysed round, and what the columns mean.

    Args:
        source: name of the recipe, or the run's directory.
        rows: of `heron analyze`.
    """
    table = Table(title=f"{source}: loss of {rows[0]['algorithm']}'s clients, d = {rows[0]['dimension']:,}")
    for heading in ("round", "loss", "|g|", "tr H", "||H||", "kappa", "noise scale", "cosine", "variance", "(d-1)/q"):
        table.add_column(heading, justify="right")
    for heading in ("rate by d", "rate by kappa"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*_cells(row))
    console = console_or_pipe()
    console.print(table)
    console.print(
        "kappa = tr H / ||H||, the effective rank; noise scale: batch size at which gradients are half noise; cosine "
        "and variance: probes of the run against the exact gradient of one batch, all parameters probed; rates: order "
        "of magnitude by the theorems of HERON-SFL",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def plot_analysis(rows: Sequence[Row], path: Path) -> None:
    """Plot each round's spectrum, and the effective rank along training.

    Args:
        rows: of `heron analyze`.
        path: PNG file to write.

    Raises:
        MissingExtraError: if the plotting library is not installed.
        CheckpointError: if the file cannot be written.
    """
    figure = new_figure(11, 4.5)
    density, ranks = figure.subplots(1, 2)
    for index, row in enumerate(rows):
        spectrum, colour = row["spectrum"], COLOURS[index % len(COLOURS)]
        density.vlines(spectrum["eigenvalues"], 1e-8, spectrum["weights"], color=colour, label=f"round {row['round']}")
    density.set(xscale="symlog", yscale="log", xlabel="eigenvalue of the Hessian", ylabel="share of the density")
    density.legend(frameon=False)
    ranks.plot([row["round"] for row in rows], [row["effective_rank"] for row in rows], marker="o", color=COLOURS[0])
    ranks.set(xlabel="round", ylabel=f"effective rank (d = {rows[0]['dimension']:,})")
    save(figure, path)


def _cells(row: Row) -> list[str]:
    spectrum, probes = row["spectrum"], row["probes"] or {}
    trace = f"{spectrum['trace']:.4g} ± {spectrum['trace_error'] or 0:.2g}"
    return [
        str(row["round"]),
        f"{row['loss']:.4f}",
        f"{row['gradient_norm']:.3g}",
        trace,
        f"{spectrum['norm']:.4g}",
        *(_number(value) for value in (row["effective_rank"], row["noise_scale"])),
        *(_number(probes.get(name)) for name in ("cosine", "variance", "expected_variance")),
        *(_number(row[name]) for name in ("rate_by_dimension", "rate_by_effective_rank")),
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
