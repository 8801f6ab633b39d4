"""`heron train`: one run, resumable."""

from contextlib import suppress
from pathlib import Path

from heron.cli.progress import round_progress
from heron.cli.run_files import free_folder, read_config, refuse_occupied, write_config
from heron.config import RunConfig, build_run, recipe_config
from heron.engines import Run
from heron.errors import MissingExtraError
from heron.report import plot_learning_curves, print_run


def train_command(recipe: str, algorithm: str, assignments: list[str], out: Path | None, *, save_model: bool) -> None:
    """Train from scratch into a new run directory."""
    config = recipe_config(recipe, algorithm, assignments)
    directory = out or free_folder(Path("runs") / f"{recipe}-{algorithm}-seed{config.seed}")
    refuse_occupied(directory)
    run = build_run(config, directory)
    write_config(directory, config)
    _train_and_show(run, config, directory, save_model=save_model)


def resume_command(directory: Path, *, save_model: bool) -> None:
    """Continue an interrupted run; a finished one is only shown."""
    config = read_config(directory)
    _train_and_show(build_run(config, directory), config, directory, save_model=save_model)


def _train_and_show(run: Run, config: RunConfig, directory: Path, *, save_model: bool) -> None:
    try:
        done = run.restore()
        with round_progress(config.algorithm, done=done, total=run.rounds) as observe:
            run.train(observe)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"continue with `heron train --resume {directory}`") from None
    run.finish()
    if save_model:
        run.save_model()
    with suppress(MissingExtraError):  # a plot is a bonus of the extra `plots`
        plot_learning_curves({config.algorithm: [run.metrics]}, directory / "learning_curve.png")
    print_run(config.recipe, run.summary(), directory)
