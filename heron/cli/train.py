"""`heron train`: one run, resumable."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from heron.cli.progress import round_progress
from heron.config import RunConfig, build_run, profile_cost, recipe_config, resolve_budget
from heron.config.run_files import free_folder, read_config, refuse_occupied, write_config
from heron.engines.in_process import Federation
from heron.errors import MissingExtraError
from heron.report import EventWriter, check_tensorboard, plot_learning_curves, print_run
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
        sys.stdout.write(
            f"client.memory_budget of {requested.client.memory_budget:,} bytes: client.exact={config.client.exact}\n"
        )
    if tensorboard:
        check_tensorboard()
    write_config(directory, config)
    _train_and_show(run, config, directory, save_model=save_model, tensorboard=tensorboard)


def resume_command(directory: Path, *, save_model: bool, tensorboard: bool) -> None:
    """Continue an interrupted run; a finished one is only shown."""
    config = read_config(directory)
    run = build_run(config, directory)
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
    with suppress(MissingExtraError):  # the plot is optional, from the extra `plots`
        plot_learning_curves({config.algorithm: [run.metrics]}, directory / "learning_curve.png")
    print_run(config.recipe, run.summary(), directory)


@contextmanager
def _events(directory: Path, *, done: int, wanted: bool) -> Iterator[Observer]:
    """An observer that writes TensorBoard events if wanted, otherwise does nothing."""
    if not wanted:
        yield lambda _: None
        return
    with EventWriter(RunDirectory(directory).events, done=done) as writer:
        yield writer.write
