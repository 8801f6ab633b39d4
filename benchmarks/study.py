"""Share of a first-order client's gain that each kind of client recovers, with its memory and compute.

    python benchmarks/study.py digits [--runs FOLDER]
    python benchmarks/study.py cifar10_narrow
    python benchmarks/study.py cifar10_wide

Every arm is tuned over its grid of rates on the validation split (`study_arms.py`; mean validation accuracy of the
last rounds), then run at its best point on all seeds, and the test split is read once, after the last round. Finished
runs are kept below the folder, so the study can be interrupted. Saves benchmarks/results/study_TASK.json.
"""

import argparse
import dataclasses
import hashlib
import json
import multiprocessing
import statistics
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from hardware import describe
from study_arms import TASKS, Arm, Task
from study_tables import add_measures, print_rows
from torch.utils.data import TensorDataset

from heron.config import build_run, plan_cost, recipe_config
from heron.data import Examples
from heron.engines.in_process import Federation
from heron.engines.profile import profile_client
from heron.errors import TrainingError
from heron.runs.evaluation import evaluate
from heron.runs.run_loop import Run

RESULTS = Path(__file__).parent / "results"
Case = tuple[str, str, tuple[str, ...], int, bool, Path]


def hide_test(run: Run[Federation]) -> Examples:
    """Take the test split out of a run's reach, and return it."""
    test = run.splits.test
    run.splits = dataclasses.replace(run.splits, test=TensorDataset(torch.empty(0), torch.empty(0)))
    return test


def finished_run(case: Case) -> dict[str, Any]:
    """Validation accuracy and client examples by round, and for a final run the test accuracy; computed once."""
    recipe, algorithm, settings, seed, is_final, folder = case
    name = hashlib.blake2b(json.dumps([recipe, algorithm, settings, seed, is_final]).encode(), digest_size=8)
    path = folder / f"{name.hexdigest()}.json"
    if path.exists():
        return dict(json.loads(path.read_text()))
    config = recipe_config(recipe, algorithm, [*settings, f"seed={seed}"])
    run = build_run(config, None)
    test = hide_test(run)  # while training, and while tuning altogether
    try:
        rows = run.train()
    except TrainingError as error:
        if is_final:
            raise
        # A rate at which a run diverges is no candidate.
        print(f"{algorithm} {' '.join(settings)} seed {seed}: {error}", flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"settings": settings, "seed": seed, "validation": [0.0]}))
        return {"settings": settings, "seed": seed, "validation": [0.0]}
    outcome = {
        "settings": settings,
        "seed": seed,
        "validation": [row["validation_accuracy"] for row in rows],
        "client_examples": [row["client_examples"] / config.clients.total for row in rows],
        "uplink_bytes": rows[-1]["uplink_bytes"],
        "downlink_bytes": rows[-1]["downlink_bytes"],
    }
    if is_final:
        model, criterion = run.federation.load_global_model(), run.federation.servers.criterion
        found = evaluate(model, test, criterion, device=torch.device(config.device))
        assert found is not None  # the test split has examples
        outcome["test"] = found.accuracy
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(outcome))
    print(f"{algorithm} {' '.join(settings)} seed {seed}: {100 * outcome['validation'][-1]:.1f}", flush=True)
    return outcome


def tuned_row(task: Task, arm: Arm, seeds: Sequence[int], pool: ProcessPoolExecutor, folder: Path) -> dict[str, Any]:
    """Tune an arm on the task's seeds for that, and run it at its best point on others.

    Args:
        task: recipe, seeds of tuning, rounds that count.
        arm: with its grid; a grid of one point is not tuned.
        seeds: of the final runs.
        pool: where runs are computed.
        folder: where finished ones are kept.
    """
    points = [(*task.settings, *settings) for settings in arm.candidates()]
    tuned = points if len(points) > 1 else []
    cases = [(task.recipe, arm.algorithm, point, seed, False, folder) for point in tuned for seed in task.tune_seeds]
    reached = [last_validation(task, run) for run in pool.map(finished_run, cases)]
    count = len(task.tune_seeds)
    scores = [statistics.fmean(reached[start : start + count]) for start in range(0, len(reached), count)]
    best = points[max(range(len(scores)), key=scores.__getitem__)] if scores else points[0]
    runs = list(pool.map(finished_run, [(task.recipe, arm.algorithm, best, seed, True, folder) for seed in seeds]))
    return {
        "arm": arm.name,
        "algorithm": arm.algorithm,
        "settings": best,
        "grid": [{"settings": point, "validation": score} for point, score in zip(tuned, scores, strict=True)],
        "cost": plan_cost(recipe_config(task.recipe, arm.algorithm, list(best))).to_dict(),
        "test_accuracies": [run["test"] for run in runs],
        "validation": [last_validation(task, run) for run in runs],
    }


def last_validation(task: Task, run: dict[str, Any]) -> float:
    """Mean validation accuracy of the rounds at the end that count."""
    return statistics.fmean(run["validation"][-task.last_rounds :])


class Study:
    """All runs of a task.

    Args:
        task: what to compare.
        pool: where runs are computed.
        folder: where finished ones are kept.

    Attributes:
        screened: after `rows`, the best settings and the grid of every arm that was tuned only.
    """

    def __init__(self, task: Task, pool: ProcessPoolExecutor, folder: Path) -> None:
        self._task = task
        self._pool = pool
        self._folder = folder
        self.screened: list[dict[str, Any]] = []

    def tuned(self) -> dict[str, tuple[tuple[str, ...], list[dict[str, Any]]]]:
        """The best settings of every arm, and what each point of its grid reached."""
        points = {arm.name: [tuple(settings) for settings in arm.candidates()] for arm in self._task.arms}
        pending = {
            (arm.name, settings): [self._submit(arm, settings, seed, is_final=False) for seed in self._task.tune_seeds]
            for arm in self._task.arms
            for settings in points[arm.name]
            if len(points[arm.name]) > 1
        }
        scores = {key: [last_validation(self._task, run.result()) for run in runs] for key, runs in pending.items()}
        best = {}
        for arm in self._task.arms:
            grid: list[dict[str, Any]] = [
                {"settings": settings, "validation": scores[arm.name, settings]}
                for settings in points[arm.name]
                if (arm.name, settings) in scores
            ]
            chosen = max(grid, key=lambda row: statistics.fmean(row["validation"]))["settings"] if grid else None
            best[arm.name] = (chosen or points[arm.name][0], grid)
        return best

    def rows(self) -> list[dict[str, Any]]:
        """One row per arm, tuned and run on all seeds."""
        best = self.tuned()
        self.screened = [
            {"arm": arm.name, "settings": best[arm.name][0], "grid": best[arm.name][1]}
            for arm in self._task.arms
            if not arm.is_final
        ]
        finalists = [arm for arm in self._task.arms if arm.is_final]
        pending = {
            arm.name: [self._submit(arm, best[arm.name][0], seed, is_final=True) for seed in self._task.seeds]
            for arm in finalists
        }
        rows = []
        for arm in finalists:
            settings, grid = best[arm.name]
            runs = [run.result() for run in pending[arm.name]]
            config = recipe_config(self._task.recipe, arm.algorithm, [*self._task.settings, *settings])
            cost = profile_client(build_run(config, None).federation).to_dict()
            rows.append(
                {
                    "arm": arm.name,
                    "algorithm": arm.algorithm,
                    "control": arm.control,
                    "settings": [*self._task.settings, *settings],
                    "batch_size": config.client.batch_size,
                    "cost": cost,
                    "runs": runs,
                    "grid": grid,
                }
            )
        return rows

    def _submit(self, arm: Arm, settings: tuple[str, ...], seed: int, *, is_final: bool) -> Any:
        case = (self._task.recipe, arm.algorithm, (*self._task.settings, *settings), seed, is_final, self._folder)
        return self._pool.submit(finished_run, case)


def main() -> None:
    """Tune, run, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--runs", type=Path, default=Path("runs/study"), help="default runs/study")
    parser.add_argument("--workers", type=int, help="runs at a time; default one per core")
    options = parser.parse_args()
    task = TASKS[options.task]
    with ProcessPoolExecutor(options.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        study = Study(task, pool, options.runs / options.task)
        rows = study.rows()
    add_measures(rows, task.last_rounds)
    print_rows(rows)
    result = {
        "hardware": describe(),
        "recipe": task.recipe,
        "seeds": task.seeds,
        "rows": rows,
        "screened": study.screened,
    }
    (RESULTS / f"study_{options.task}.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
