"""`heron compare`: several algorithms and seeds on the same data, cut and meter; resumable run by run."""

from pathlib import Path
from typing import Any

from heron.analysis import summarise
from heron.cli.profile import profile_algorithms
from heron.cli.train import free_folder, read_config, train_run, write_config
from heron.config import RunConfig, build_run, recipe_config
from heron.engines import Metrics, RunDirectory, read_json, write_json
from heron.errors import CheckpointError, MissingExtraError
from heron.report import plot_learning_curves, print_comparison, print_comparison_note


def compare_command(
    recipe: str, algorithms: list[str], seeds: list[int], assignments: list[str], out: Path | None
) -> None:
    """Train every (algorithm, seed) that is not finished yet, then show the table and save it with the plot."""
    configs = {
        (algorithm, seed): recipe_config(recipe, algorithm, [*assignments, f"seed={seed}"])
        for algorithm in algorithms
        for seed in seeds
    }
    folder = out or free_folder(Path("runs") / f"{recipe}-compare")
    metrics: dict[str, list[list[Metrics]]] = {algorithm: [] for algorithm in algorithms}
    summaries: dict[str, list[dict[str, Any]]] = {algorithm: [] for algorithm in algorithms}
    for (algorithm, seed), config in configs.items():
        directory = RunDirectory(folder / algorithm / f"seed{seed}")
        _run_if_needed(directory, config, f"{algorithm} seed {seed}", folder)
        metrics[algorithm].append(directory.read_metrics())
        summaries[algorithm].append(read_json(directory.summary))
    costs = profile_algorithms([configs[algorithm, seeds[0]] for algorithm in algorithms])
    rows = summarise(summaries, {cost.algorithm: cost.to_dict() for cost in costs})
    write_json(folder / "comparison.json", {"recipe": recipe, "seeds": seeds, "set": assignments, "rows": rows})
    print_comparison(recipe, rows, seeds)
    try:
        plot_learning_curves(metrics, folder / "comparison.png")
    except MissingExtraError as error:
        print_comparison_note(folder, str(error))
    else:
        print_comparison_note(folder, "plot in comparison.png")


def _run_if_needed(directory: RunDirectory, config: RunConfig, label: str, folder: Path) -> None:
    if directory.config.exists() and read_config(directory.path) != config:
        raise CheckpointError(f"{directory.path} holds a run with other settings; choose another --out")
    if directory.summary.exists():
        return
    run = build_run(config, directory.path)
    write_config(directory.path, config)
    try:
        train_run(run, label)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"finished runs are kept in {folder}; give the same command with --out {folder}"
        ) from None
