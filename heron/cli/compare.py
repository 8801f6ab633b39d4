"""`heron compare`: several algorithms and seeds on the same data, cut and meter; resumable run by run."""

from pathlib import Path

from heron.analysis import summarise
from heron.cli.profile import profile_algorithms
from heron.cli.run_files import free_folder, read_config, write_config
from heron.cli.workers import run_all
from heron.config import RunConfig, build_federation, load_splits, recipe_config
from heron.engines import RunDirectory, read_json, write_json
from heron.errors import CheckpointError, ConfigError, MissingExtraError
from heron.report import plot_learning_curves, print_comparison, print_comparison_note


def compare_command(
    recipe: str, algorithms: list[str], seeds: list[int], assignments: list[str], out: Path | None
) -> None:
    """Train every (algorithm, seed) that is not finished yet, then show the table and save it with the plot."""
    if any(assignment.partition("=")[0].strip() == "seed" for assignment in assignments):
        raise ConfigError("compare takes its seeds from --seeds, found --set seed")
    configs = {
        (algorithm, seed): recipe_config(recipe, algorithm, [*assignments, f"seed={seed}"])
        for algorithm in algorithms
        for seed in seeds
    }
    folder = out or free_folder(Path("runs") / f"{recipe}-compare")
    runs = {key: RunDirectory(folder / key[0] / f"seed{key[1]}") for key in configs}
    pending = _pending(runs, configs)
    try:
        run_all([runs[key].path for key in pending], [configs[key] for key in pending])
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"what is done is kept; give the command again with --out {folder}") from None
    summaries = {name: [read_json(runs[name, seed].summary) for seed in seeds] for name in algorithms}
    costs = profile_algorithms([configs[algorithm, seeds[0]] for algorithm in algorithms])
    rows = summarise(summaries, {cost.algorithm: cost.to_dict() for cost in costs})
    write_json(folder / "comparison.json", {"recipe": recipe, "seeds": seeds, "set": assignments, "rows": rows})
    print_comparison(recipe, rows, seeds)
    try:
        metrics = {name: [runs[name, seed].read_metrics() for seed in seeds] for name in algorithms}
        plot_learning_curves(metrics, folder / "comparison.png")
    except MissingExtraError as error:
        print_comparison_note(folder, str(error))
    else:
        print_comparison_note(folder, "plot in comparison.png")


def _pending(
    runs: dict[tuple[str, int], RunDirectory], configs: dict[tuple[str, int], RunConfig]
) -> list[tuple[str, int]]:
    """Runs without a summary, each with its configuration written; nothing is written before all are found sound."""
    for key, directory in runs.items():
        if directory.config.exists() and read_config(directory.path) != configs[key]:
            raise CheckpointError(f"{directory.path} holds a run with other settings; choose another --out")
    pending = [key for key, directory in runs.items() if not directory.summary.exists()]
    one_of_each = {algorithm: configs[algorithm, seed] for algorithm, seed in reversed(pending)}
    for config in one_of_each.values():
        build_federation(config, load_splits(config))
    for key in pending:
        write_config(runs[key].path, configs[key])
    return pending
