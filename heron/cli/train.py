"""`heron train`: one run, resumable."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from heron.cli.progress import round_progress
from heron.config import RunConfig, build_run, from_toml, recipe_config, to_toml
from heron.engines import Run, RunDirectory, write_atomically
from heron.errors import CheckpointError, MissingExtraError
from heron.report import plot_learning_curves, print_run


def train_command(recipe: str, algorithm: str, assignments: list[str], out: Path | None, *, save_model: bool) -> None:
    """Train from scratch into a new run directory."""
    config = recipe_config(recipe, algorithm, assignments)
    directory = out or free_folder(Path("runs") / f"{recipe}-{algorithm}-seed{config.seed}")
    refuse_occupied(directory)
    run = build_run(config, directory)
    write_config(directory, config)
    _train_and_show(run, config, save_model=save_model)


def resume_command(directory: Path, *, save_model: bool) -> None:
    """Continue an interrupted run; a finished one is only shown."""
    config = read_config(directory)
    _train_and_show(build_run(config, directory), config, save_model=save_model)


def train_run(run: Run, label: str) -> None:
    """Restore, train with progress, write the summary; Ctrl-C leaves a run that can be resumed."""
    assert run.directory is not None  # commands always keep their runs
    done = run.restore()
    with _interruptible(run.directory.path), round_progress(label, done=done, total=run.rounds) as observe:
        run.train(observe)
    run.directory.write_summary(run.summary())


def read_config(directory: Path) -> RunConfig:
    """The configuration a run directory was made with.

    Raises:
        CheckpointError: if the folder is not a run directory.
    """
    path = RunDirectory(directory).config
    try:
        return from_toml(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"nothing to resume in {directory}: expected a readable config.toml in it") from error


def write_config(directory: Path, config: RunConfig) -> None:
    """Save the complete configuration: the first file of a run directory."""
    write_atomically(RunDirectory(directory).config, to_toml(config).encode())


def refuse_occupied(directory: Path) -> None:
    """Refuse a folder that holds something already.

    Raises:
        CheckpointError: if it does.
    """
    if directory.is_file() or (directory.is_dir() and any(directory.iterdir())):
        raise CheckpointError(
            f"{directory} is not empty; choose another --out, or continue it with `heron train --resume {directory}`"
        )


def free_folder(wanted: Path) -> Path:
    """The folder, or the first of `NAME-2`, `NAME-3`, ... that does not exist."""
    folder, number = wanted, 2
    while folder.exists():
        folder, number = wanted.with_name(f"{wanted.name}-{number}"), number + 1
    return folder


def _train_and_show(run: Run, config: RunConfig, *, save_model: bool) -> None:
    assert run.directory is not None  # commands always keep their runs
    train_run(run, config.algorithm)
    if save_model:
        run.save_model()
    with suppress(MissingExtraError):  # a plot is a bonus of the extra `plots`
        plot_learning_curves({config.algorithm: [run.metrics]}, run.directory.path / "learning_curve.png")
    print_run(config.recipe, run.summary(), run.directory.path)


@contextmanager
def _interruptible(directory: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"continue with `heron train --resume {directory}`") from None
