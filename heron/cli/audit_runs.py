"""Audits of single runs, several at once."""

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from heron.algorithms import ALGORITHMS
from heron.audit import Outcome, make_view, run_attacks
from heron.cli.export import trained_model
from heron.cli.progress import total_progress
from heron.cli.workers import num_workers
from heron.config import RunConfig, build_federation, load_splits, use_threads_and_device
from heron.config.run_files import read_config
from heron.engines.fleet import is_fleet
from heron.errors import ConfigError
from heron.report.collect import SavedRun


def audit_all(directories: Sequence[Path], attacks: Sequence[str], examples: int) -> list[dict[str, Outcome]]:
    """Audit runs, as many at once as there are cores; one alone in this process.

    Args:
        directories: of runs with at least one finished round.
        attacks: names of attacks.
        examples: most victims.

    Returns:
        Outcomes of each run by attack, in the order of the runs.

    Raises:
        HeronError: if a run cannot be audited.
    """
    for directory in directories:
        check_auditable(read_config(directory))
    total = len(directories)
    with total_progress("audit", done=0, total=total, unit="run") as show:
        workers = min(total, num_workers(read_config(directories[0])))
        if workers == 1:
            outcomes = []
            for number, directory in enumerate(directories, start=1):
                outcomes.append(audit_run(directory, attacks, examples))
                show(number)
            return outcomes
        # Processes are spawned: forking a process that has used torch's threads can deadlock.
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            futures = [pool.submit(audit_run, directory, attacks, examples) for directory in directories]
            try:
                for number, future in enumerate(as_completed(futures), start=1):
                    future.result()
                    show(number)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            return [future.result() for future in futures]


def standing(runs: Sequence[SavedRun]) -> list[str]:
    """Say of unfinished runs after which round they are attacked, one line each.

    Args:
        runs: that are audited.
    """
    return [
        f"{run.path}: attacked as it is after round {run.metrics[-1]['round']} of {run.config['rounds']}; a claimed "
        f"epsilon is that of all rounds"
        for run in runs
        if not run.summary
    ]


def check_auditable(config: RunConfig) -> None:
    """Refuse a run whose clients have boundaries of their own.

    Args:
        config: of the run.

    Raises:
        ConfigError: naming the key.
    """
    if is_fleet(ALGORITHMS[config.algorithm], config):
        raise ConfigError(
            "expected one client.exact for all clients of an audited run, found device; audit a run with a number"
        )


def audit_run(directory: Path, attacks: Sequence[str], examples: int) -> dict[str, Outcome]:
    """Audit one run where it stands.

    Args:
        directory: of the run; none of its files changes.
        attacks: names of attacks.
        examples: most victims.

    Returns:
        Outcomes by attack.

    Raises:
        HeronError: if it has no finished round, or too few examples are left for the attacker.
    """
    config = read_config(directory)
    use_threads_and_device(config)
    split, _ = trained_model(directory, config)
    splits = load_splits(config)
    view = make_view(
        split,
        ALGORITHMS[config.algorithm],
        config,
        splits,
        criterion=config.split.criterion,
        federation=lambda: build_federation(config, splits),
        examples=examples,
    )
    return run_attacks(view, attacks)
