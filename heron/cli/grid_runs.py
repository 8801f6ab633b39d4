"""Runs of a grid that are still to be trained, all checked before the first one begins."""

from collections.abc import Sequence

from heron.cli.grid import Cell
from heron.config import RunConfig, build_federation, load_splits, use_threads_and_device
from heron.config.run_files import read_config
from heron.errors import CheckpointError
from heron.runs.run_directory import RunDirectory


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
