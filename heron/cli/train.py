"""`heron train`: one run, resumable."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from heron.algorithms import ALGORITHMS
from heron.cli.progress import round_progress
from heron.cli.report import warn
from heron.config import RunConfig, assigned_keys, build_run, override, profile_cost, recipe_config, resolve_budget
from heron.config.run_files import (
    free_folder,
    read_config,
    refuse_occupied,
    replace_config,
    with_rounds,
    write_config,
)
from heron.engines.cautions import cautions
from heron.engines.in_process import Federation
from heron.errors import CheckpointError, ConfigError, MissingExtraError
from heron.report import EventWriter, check_tensorboard, plot_learning_curves, print_run
from heron.runs.lock import locked
from heron.runs.run_directory import Metrics, RunDirectory, write_json
from heron.runs.run_loop import Observer, Run


def train_command(
    recipe: str,
    algorithm: str,
    assignments: list[str],
    out: Path | None,
    *,
    save_model: bool,
    tensorboard: bool,
) -> None:
    """Train from the start, into a new run directory."""
    requested = recipe_config(recipe, algorithm, assignments)
    directory = out or free_folder(Path("runs") / f"{recipe}-{algorithm}-seed{requested.seed}")
    refuse_occupied(directory, f", or continue it with `heron train --resume {directory}`")
    config = resolve_budget(requested)
    run = build_run(config, directory)
    if config is not requested:
        sys.stdout.write(f"{_chosen(requested, config)}\n")
    if tensorboard:
        check_tensorboard()
    warn(cautions(ALGORITHMS[config.algorithm], config))
    with locked(directory, lambda line: warn([line])):
        write_config(directory, config)
        _train_and_show(run, config, directory, save_model=save_model, tensorboard=tensorboard)


def _chosen(requested: RunConfig, config: RunConfig) -> str:
    """Say what a budget has chosen."""
    budget, client = requested.client.memory_budget, config.client
    if isinstance(budget, int):
        learning = "" if client.learning == requested.client.learning else f", client.learning={client.learning}"
        return f"client.memory_budget of {budget:,} bytes: client.exact={client.exact}{learning}"
    found = (f"{one.name} ({one.memory_budget:,} bytes) {one.exact}" for one in config.link.devices)
    return f"client.memory_budget of each device: client.exact of {', '.join(found)}"


def resume_command(directory: Path, assignments: list[str], *, save_model: bool, tensorboard: bool) -> None:
    """Continue an interrupted run, or a finished one with more rounds; otherwise a finished one is only shown."""
    if assigned_keys(assignments) - {"rounds"}:
        raise ConfigError("--resume takes everything but rounds from the run's config.toml; drop the other --set")
    config = read_config(directory)
    if assignments:
        config = with_rounds(config, override(config, assignments).rounds)
    run = build_run(config, directory)
    with locked(directory, lambda line: warn([line])):
        if assignments:
            replace_config(directory, config)
        _train_and_show(run, config, directory, save_model=save_model, tensorboard=tensorboard)


def _train_and_show(
    run: Run[Federation], config: RunConfig, directory: Path, *, save_model: bool, tensorboard: bool
) -> None:
    try:
        done = run.restore()
        with (
            round_progress(config.algorithm, done=done, total=run.rounds) as show,
            _events(directory, done=done, wanted=tensorboard) as record,
        ):

            def observe(row: Metrics) -> None:
                show(row)
                record(row)

            run.train(observe)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"continue with `heron train --resume {directory}`") from None
    run.finish()
    if not RunDirectory(directory).cost.exists():
        write_json(RunDirectory(directory).cost, profile_cost(config).to_dict())
    if save_model:
        run.save_model()
    try:
        with suppress(MissingExtraError):  # the plot is optional, from the extra `plots`
            plot_learning_curves({config.algorithm: [run.metrics]}, directory / "learning_curve.png")
    except CheckpointError as error:
        warn([f"no plot ({error}); the run is complete"])
    print_run(config.recipe, run.summary(), directory)


@contextmanager
def _events(directory: Path, *, done: int, wanted: bool) -> Iterator[Observer]:
    """An observer that writes TensorBoard events if wanted, otherwise does nothing."""
    if not wanted:
        yield lambda _: None
        return
    with EventWriter(RunDirectory(directory).events, done=done) as writer:
        yield writer.write
