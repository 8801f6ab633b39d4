"""`heron compare`: algorithms, varied settings and seeds, measured alike; resumable run by run."""

import math
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from heron.algorithms import CONTROLS
from heron.analysis import RunGroup, common_target, costs_to_target, quality_of, summarise
from heron.cli.grid import Cell, expand_grid
from heron.cli.grid_runs import resumable, run_directories, trained
from heron.cli.report import PAGE, warn
from heron.config import assigned_keys, profile_cost
from heron.config.likeness import distance
from heron.config.run_files import free_folder
from heron.costs.profile import ClientCost
from heron.errors import CheckpointError, ConfigError, MissingExtraError
from heron.report import plot_grid, plot_learning_curves, print_comparison, print_comparison_note, write_report
from heron.runs.run_directory import Metrics, RunDirectory, read_json, write_json

_COST_KEYS = {field.name for field in fields(ClientCost)}


def compare_command(
    recipe: str,
    algorithms: list[str],
    seeds: list[int],
    assignments: list[str],
    vary: list[str],
    out: Path | None,
    target: float | None = None,
) -> None:
    """Train every unfinished run of the grid, then print the table and save it with the plot."""
    if target is not None and not (math.isfinite(target) and target > 0):
        raise ConfigError(f"expected --target as a number above 0, found {target}")
    if "seed" in assigned_keys(assignments):
        raise ConfigError("compare takes its seeds from --seeds, found --set seed")
    grid = expand_grid(recipe, algorithms, seeds, assignments, vary)
    folder = out or free_folder(Path("runs") / f"{recipe}-compare")
    runs = run_directories(grid.cells, folder)
    with trained(grid.cells, runs, folder):
        with resumable(folder):
            costs = _costs(grid.cells, runs)
        facts = {"recipe": recipe, "seeds": seeds, "set": assignments, "vary": grid.vary}
        _show(grid.cells, runs, costs, folder, facts, target)


def _show(
    cells: Sequence[Cell],
    runs: Sequence[Sequence[RunDirectory]],
    costs: Sequence[dict[str, Any]],
    folder: Path,
    facts: dict[str, Any],
    target: float | None,
) -> None:
    """Print the table of finished runs, and save it with the page and the plot."""
    rows = summarise(
        [
            RunGroup(cell.algorithm, cell.settings, [_summary(run) for run in of_cell], cost, cell.config)
            for cell, of_cell, cost in zip(cells, runs, costs, strict=True)
        ],
        lower=CONTROLS["lower"],
        upper=CONTROLS["upper"],
        distance=distance,
    )
    metrics = [[run.read_metrics() for run in of_cell] for of_cell in runs]
    reached = _add_target(rows, metrics, target)
    write_json(folder / "comparison.json", {**facts, **reached, "rows": rows})
    print_comparison(facts["recipe"], rows, facts["seeds"], **reached)
    warn(write_report([run.path for of_cell in runs for run in of_cell], folder / PAGE))
    try:
        _plot(rows, metrics, folder / "comparison.png")
    except (MissingExtraError, CheckpointError) as error:
        print_comparison_note(folder, f"{PAGE}; no plot: {error}")
    else:
        print_comparison_note(folder, f"{PAGE}, comparison.png")


def _costs(cells: Sequence[Cell], runs: Sequence[Sequence[RunDirectory]]) -> list[dict[str, Any]]:
    """Cost of one client step in each cell, the same for all its seeds; measured once and saved in every run."""
    saved = [[_saved_cost(run) for run in of_cell] for of_cell in runs]
    costs = {position: cost for position, of_cell in enumerate(saved) for cost in of_cell if cost is not None}
    unknown = [position for position in range(len(cells)) if position not in costs]
    for position in unknown:
        costs[position] = profile_cost(next(iter(cells[position].configs.values()))).to_dict()
    for position, of_cell in enumerate(runs):
        for run, cost in zip(of_cell, saved[position], strict=True):
            if cost != costs[position]:
                write_json(run.cost, costs[position])
    return [costs[position] for position in range(len(cells))]


def _summary(run: RunDirectory) -> dict[str, Any]:
    try:
        summary = read_json(run.summary)
    except CheckpointError as error:
        raise CheckpointError(f"{error}; remove it, and the run continues from its checkpoint") from error
    if not isinstance(summary, dict):
        raise CheckpointError(
            f"expected a JSON object in {run.summary}; remove it, and the run continues from its checkpoint"
        )
    return summary


def _saved_cost(run: RunDirectory) -> dict[str, Any] | None:
    """The cost saved by an earlier comparison, or None if it is damaged or has other keys."""
    try:
        saved = read_json(run.cost)
    except CheckpointError:
        return None
    return saved if isinstance(saved, dict) and saved.keys() == _COST_KEYS else None


def _add_target(
    rows: Sequence[dict[str, Any]], metrics: Sequence[Sequence[list[Metrics]]], asked_for: float | None
) -> dict[str, float | None]:
    """Add the cost of reaching a quality to each row, if a quality is given or time is simulated.

    Args:
        rows: rows of the comparison.
        metrics: rows of metrics of each row's runs, one list per seed.
        asked_for: the quality, in its unit of display; None for the best that every run reaches.

    Returns:
        The quality under the key `target`; empty if there is none.
    """
    if asked_for is None and not any("simulated_s" in row for row in rows):
        return {}
    quality = quality_of(rows)
    every_run = [run for of_row in metrics for run in of_row]
    target = common_target(every_run, quality) if asked_for is None else asked_for / quality.factor
    for row, of_row in zip(rows, metrics, strict=True):
        row |= costs_to_target(of_row, target, quality)
    return {"target": target}


def _plot(rows: Sequence[dict[str, Any]], metrics: Sequence[Sequence[list[Metrics]]], path: Path) -> None:
    if rows[0]["settings"]:
        plot_grid(rows, metrics, path)
    else:
        plot_learning_curves({row["algorithm"]: curves for row, curves in zip(rows, metrics, strict=True)}, path)
