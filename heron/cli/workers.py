"""Several runs at once: one process per core, each of which takes the next run when it has finished one."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import torch

from heron.config import RunConfig, build_run
from heron.config.run_files import read_config
from heron.errors import HeronError, TrainingError
from heron.runs.lock import locked
from heron.runs.run_directory import RunDirectory

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized

_POLL_S = 0.2
_MAX_FAILURE_BYTES = 4096


def run_all(directories: Sequence[Path], configs: Sequence[RunConfig]) -> None:
    """Finish the runs whose `config.toml` is in these directories; interrupted ones are continued.

    Args:
        directories: run directories.
        configs: their configurations, in the same order.

    Raises:
        HeronError: the error of the first run that failed; the others are stopped and can be continued.
    """
    if not directories:
        return
    count = min(len(directories), num_workers(configs[0]))
    # Processes are spawned: forking a process that has used torch's threads can deadlock.
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe(duplex=False) for _ in range(count)]
    taken = context.Value("q", 0)
    processes: list[BaseProcess] = [
        context.Process(target=_work, args=(list(directories), taken, sender), daemon=True) for _, sender in pipes
    ]
    try:
        for process in processes:
            process.start()
        _watch(processes, [receiver for receiver, _ in pipes], directories, configs)
    finally:
        for process in processes:
            if process.pid is not None:
                process.terminate()
                process.join()


def num_workers(config: RunConfig) -> int:
    """Return how many processes can work at once, each with the threads of a run; one where they share a device.

    Args:
        config: of one of the runs.
    """
    if torch.device(config.device).type != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // config.threads)


def _watch(
    processes: Sequence[BaseProcess],
    receivers: Sequence[Connection],
    directories: Sequence[Path],
    configs: Sequence[RunConfig],
) -> None:
    """Show progress, read from the runs' metrics files, until every worker is done."""
    from heron.cli.progress import total_progress  # workers import this file and show nothing

    runs = [RunDirectory(directory) for directory in directories]

    def finished_rounds() -> int:
        return sum(run.num_recorded_rounds() for run in runs)

    total = sum(config.rounds for config in configs)
    with total_progress(f"{len(runs)} runs", done=finished_rounds(), total=total) as show:
        while any(process.is_alive() for process in processes):
            time.sleep(_POLL_S)
            show(finished_rounds())
            _raise_failure(processes, receivers)
        show(finished_rounds())
    _raise_failure(processes, receivers)


def _raise_failure(processes: Sequence[BaseProcess], receivers: Sequence[Connection]) -> None:
    for process, receiver in zip(processes, receivers, strict=True):
        if receiver.poll():
            raise TrainingError(receiver.recv_bytes(_MAX_FAILURE_BYTES).decode())
        if process.exitcode not in {None, 0}:
            raise TrainingError(f"a worker process ended with code {process.exitcode}; repeat the command to continue")


def _end_with_parent() -> None:
    """End this process when its parent has ended, even by SIGKILL, which leaves nobody to stop the workers."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # workers are started by `run_all`
    parent.join()
    os._exit(1)


def _work(directories: Sequence[Path], taken: "Synchronized[int]", failures: Connection) -> None:
    """Body of a worker process, which takes runs that no other has taken until there are none."""
    # Ctrl-C reaches the whole group. The parent decides, and checkpoints allow a worker to end at any time.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()
    try:
        for directory in _untaken(directories, taken):
            with locked(directory, lambda _: None):  # `heron compare` tells of its own lock, once
                run = build_run(read_config(directory), directory)
                run.restore()
                run.train()
                run.finish()
    except HeronError as error:
        failures.send_bytes(f"{directory}: {error}".encode()[:_MAX_FAILURE_BYTES])


def _untaken(directories: Sequence[Path], taken: "Synchronized[int]") -> Iterator[Path]:
    while True:
        with taken.get_lock():
            number = taken.value
            taken.value += 1
        if number >= len(directories):
            return
        yield directories[number]
