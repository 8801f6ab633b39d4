"""Runs of a grid: those that are not finished are checked before the first one begins, and trained."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from heron.algorithms import ALGORITHMS
from heron.cli.grid import Cell
from heron.cli.report import warn
from heron.cli.workers import run_all
from heron.config import RunConfig, build_federation, load_splits, use_threads_and_device
from heron.config.run_files import read_config, write_config
from heron.engines.cautions import cautions
from heron.errors import CheckpointError
from heron.runs.lock import locked
from heron.runs.run_directory import RunDirectory


def run_directories(cells: Sequence[Cell], folder: Path) -> list[list[RunDirectory]]:
    """Return the directory of each seed of each cell."""
    return [[RunDirectory(folder / cell.folder / f"seed{seed}") for seed in cell.configs] for cell in cells]


@contextmanager
def trained(cells: Sequence[Cell], runs: Sequence[Sequence[RunDirectory]], folder: Path) -> Iterator[None]:
    """Train the unfinished runs of a grid, and hold the folder's lock for what is done with them.

    Args:
        cells: of the grid.
        runs: directory of each seed of each cell.
        folder: of the command's result.

    Raises:
        HeronError: as of `pending_runs`, or if a run fails.
    """
    pending = pending_runs(cells, runs)
    warn(list(dict.fromkeys(line for _, made in pending for line in cautions(ALGORITHMS[made.algorithm], made))))
    with locked(folder, lambda line: warn([line])):
        with resumable(folder):
            for run, config in pending:
                write_config(run.path, config)
            run_all([run.path for run, _ in pending], [config for _, config in pending])
        yield


@contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """Say how to go on, where a person interrupts.

    Args:
        folder: of the command's result.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"finished rounds are kept; repeat the command with --out {folder}") from None


def pending_runs(cells: Sequence[Cell], runs: Sequence[Sequence[RunDirectory]]) -> list[tuple[RunDirectory, RunConfig]]:
    """Find the runs without a summary, and their configurations.

    Args:
        cells: of the grid.
        runs: directory of each seed of each cell.

    Raises:
        CheckpointError: if a directory holds a run with other settings.
        HeronError: if the data, the partition, the cut or the device of a configuration is not usable.
    """
    pending: list[tuple[RunDirectory, RunConfig]] = []
    one_of_each: list[RunConfig] = []
    for cell, of_cell in zip(cells, runs, strict=True):
        pairs = list(zip(of_cell, cell.configs.values(), strict=True))
        for run, config in pairs:
            if run.config.exists() and read_config(run.path) != config:
                raise CheckpointError(f"{run.path} holds a run with other settings; choose another --out")
        unfinished = [(run, config) for run, config in pairs if not run.summary.exists()]
        pending += unfinished
        one_of_each += [config for _, config in unfinished[:1]]
    check_buildable(one_of_each)
    return pending


def check_buildable(configs: Sequence[RunConfig]) -> None:
    """Build the federation of every configuration, one at a time; runs with the same data share it.

    Args:
        configs: of runs that are to be trained.

    Raises:
        HeronError: if the data, the partition, the cut or the device of one is not usable.
    """
    sharing: dict[object, list[RunConfig]] = {}
    for config in configs:
        sharing.setdefault((config.data, config.split, config.seed), []).append(config)
    for alike in sharing.values():
        use_threads_and_device(alike[0])
        splits = load_splits(alike[0])
        for config in alike:
            use_threads_and_device(config)
            build_federation(config, splits)
