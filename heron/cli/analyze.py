"""`heron analyze`: curvature, noise and probe quality of a client's loss, at a trained model or along training."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from heron.algorithms import ALGORITHMS
from heron.analysis import step_sizes
from heron.cli.export import trained_model
from heron.cli.progress import total_progress
from heron.config import (
    RunConfig,
    build_run,
    is_folder_of_runs,
    load_splits,
    recipe_config,
    use_threads_and_device,
)
from heron.config.run_files import read_config
from heron.curvature import Analysis, analyse
from heron.data import Splits, fetch, num_examples
from heron.errors import ConfigError
from heron.report import plot_analysis, print_analysis
from heron.runs.run_directory import write_json
from heron.seeds import derive_seed
from heron.split import SplitModel

JSON, PICTURE = "analysis.json", "analysis.png"


def analyze_command(
    source: str,
    algorithm: str | None,
    assignments: list[str],
    rounds: list[int],
    count: int,
    out: Path,
) -> None:
    """Analyse, print a table, and write it as JSON with a picture.

    Args:
        source: name of a recipe, or a run directory, whose trained model is analysed.
        algorithm: of a recipe; heron by default.
        assignments: changes of a recipe.
        rounds: rounds of a recipe after which its model is analysed, ascending; 0 is before training.
        count: training examples that the loss is a mean over.
        out: folder of the two files.
    """
    if count < 1:
        raise ConfigError(f"expected --examples of at least 1, found {count}")
    is_run = is_folder_of_runs(source)
    if is_run and (algorithm is not None or assignments):
        raise ConfigError("a run's directory says everything; drop --algorithm and --set")
    config = read_config(Path(source)) if is_run else recipe_config(source, algorithm or "heron", assignments)
    use_threads_and_device(config)
    splits = load_splits(config)
    examples = _examples(config, splits, count)
    models = _trained(config, Path(source)) if is_run else _along(config, sorted(rounds))
    row, criterion = ALGORITHMS[config.algorithm], config.split.criterion
    rows = [
        _row(config, splits, num_rounds, analyse(split, row, config, criterion, examples))
        for num_rounds, split in models
    ]
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / JSON, {"source": source, "examples": len(examples[1]), "rows": rows})
    print_analysis(source, rows)
    plot_analysis(rows, out / PICTURE)
    print(out / JSON)  # noqa: T201 - the command's result


def _examples(config: RunConfig, splits: Splits, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Training examples drawn with the seed."""
    total = num_examples(splits.train)
    generator = np.random.default_rng(derive_seed("analysed examples", config.seed))
    chosen = generator.permutation(total)[:count]
    batch = fetch(splits.train, np.sort(chosen), torch.device(config.device))
    return torch.as_tensor(batch.inputs), torch.as_tensor(batch.labels)


def _trained(config: RunConfig, directory: Path) -> Iterator[tuple[int, SplitModel]]:
    split, num_rounds = trained_model(directory, config)
    yield num_rounds, split


def _along(config: RunConfig, rounds: Sequence[int]) -> Iterator[tuple[int, SplitModel]]:
    """Train a recipe and yield its model after these rounds."""
    if rounds[-1] > config.rounds:
        raise ConfigError(
            f"expected --rounds up to {config.rounds}, those of the recipe, found {rounds[-1]}; raise --set rounds="
        )
    federation = build_run(config, None).federation
    with total_progress(f"train {config.recipe}", done=0, total=rounds[-1], unit="round") as show:
        for num_rounds in range(rounds[-1] + 1):
            if num_rounds in rounds:
                yield num_rounds, federation.load_global_model()
            if num_rounds < rounds[-1]:
                federation.run_round()
                show(num_rounds + 1)


def _row(config: RunConfig, splits: Splits, num_rounds: int, found: Analysis) -> dict[str, Any]:
    """One row of the table, with the step sizes of the theorems for d and for the effective rank."""
    clients, size = config.clients.per_round or config.clients.total, config.client.batch_size
    local_steps = config.client.local_steps or max(1, num_examples(splits.train) // (config.clients.total * size))
    work = {"clients": clients, "local_steps": local_steps, "batch_size": size, "rounds": config.rounds}
    kappa = found.spectrum.effective_rank
    by_rank = step_sizes(dimension=kappa, **work).client_learning_rate if kappa > 0 else None
    return {
        "round": num_rounds,
        "algorithm": config.algorithm,
        **found.to_dict(),
        "rate_by_dimension": step_sizes(dimension=found.dimension, **work).client_learning_rate,
        "rate_by_effective_rank": by_rank,
    }
