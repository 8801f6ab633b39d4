"""Accuracy against bytes: savings and costs of scalars, codecs, fewer uploads and a narrow cut.

    python benchmarks/traffic.py digits [--runs FOLDER] [--workers N]
    python benchmarks/traffic.py cifar10_narrow
    python benchmarks/traffic.py cifar10_wide
    python benchmarks/traffic.py cifar10_wide_64

Every arm is the recipe with nothing but settings of traffic changed, run with the same seeds as its reference, which
sends everything in float32. Traffic is every encoded byte of the run in both directions. The difference in test
accuracy is paired by seed. The chosen candidate is the best on the validation split over
the last rounds, with seeds that the table does not use. Finished runs are kept below the folder, so this can be
interrupted. Saves benchmarks/results/traffic_TASK.json.
"""

import argparse
import json
import multiprocessing
import statistics
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardware import describe
from study import RESULTS, finished_run

from heron.analysis import standard_error

# Clients learn bit for bit as in float32: what is lost, the Main Server has lost.
SAME_CLIENTS = ("update=scalars", "link.bundle=true")
WHOLE = (*SAME_CLIENTS, "update_codec=int8")
SMALLEST = (*SAME_CLIENTS, "update_codec=int4")
SIX_LEVELS = (*WHOLE, "smashed.codec=dither6", "smashed.zstd=true")
WIDE = ("split.bottleneck_channels=0", "split.bottleneck_stride=1")
FULL_HEIGHT = ("split.bottleneck_channels=4", "split.bottleneck_stride=1")


def seldom(
    period: int, codec: str, update: tuple[str, ...] = WHOLE, *, zstd: bool = False, kept: int = 40
) -> tuple[str, ...]:
    """Every `period`-th batch goes up; the Main Server makes as many steps as before on the `kept` last ones."""
    reuse = (f"client.upload_period={period}", f"server.reuse={period - 1}", f"server.buffer_size={kept}")
    return (*update, f"smashed.codec={codec}", *reuse, *(("smashed.zstd=true",) if zstd else ()))


@dataclass(frozen=True)
class Task:
    """Arms of one recipe.

    Attributes:
        recipe: its name.
        seeds: of every arm.
        arms: settings by name, the reference first.
        candidates: further arms, of which one is chosen.
        target: the largest share of the reference's traffic that is asked of it.
        loss: the largest loss of accuracy that is asked of it.
        choosing_seeds: of the runs that choose; none of `seeds`.
    """

    recipe: str
    seeds: range
    arms: dict[str, tuple[str, ...]]
    candidates: dict[str, tuple[str, ...]]
    target: float
    loss: float = 0.01
    choosing_seeds: range = range(100, 110)


TASKS = {
    "digits": Task(
        "digits",
        range(30),
        {"float32": ()},
        {
            "int4, k=4": seldom(4, "int4"),
            "int4, k=3, zstd": seldom(3, "int4", zstd=True),
            "int4, k=2, zstd, updates in int4": seldom(2, "int4", SMALLEST, zstd=True),
            "int8, k=4, zstd": seldom(4, "int8", zstd=True),
            "int8, k=4, zstd, updates in int4": seldom(4, "int8", SMALLEST, zstd=True),
        },
        1 / 8,
    ),
    "cifar10_narrow": Task(
        "cifar10-resnet18-small",
        range(10),
        {
            "float32": (),
            "int4, k=4": seldom(4, "int4"),
            "int4, k=2, zstd, updates in float32": seldom(2, "int4", SAME_CLIENTS, zstd=True, kept=144),
        },
        {"dither6, zstd": SIX_LEVELS},
        1 / 16,
    ),
    "cifar10_wide": Task(
        "cifar10-resnet18-small",
        range(10),
        {
            "wide cut, float32": WIDE,
            "4 channels, stride 4, float32": (),
            "4 channels, stride 4, int4, k=2, zstd": seldom(2, "int4", SAME_CLIENTS, zstd=True, kept=144),
        },
        {"4 channels, int4, zstd": (*FULL_HEIGHT, *WHOLE, "smashed.codec=int4", "smashed.zstd=true")},
        1 / 32,
    ),
    "cifar10_wide_64": Task(
        "cifar10-resnet18-small",
        range(6),
        {"wide cut, float32": WIDE},
        {"4 channels, dither6, zstd": (*FULL_HEIGHT, *SIX_LEVELS)},
        1 / 64,
    ),
}
LAST_ROUNDS = 10


def chosen(task: Task, pool: ProcessPoolExecutor, folder: Path) -> tuple[str, dict[str, float]]:
    """The candidate of the best validation accuracy, and that of each."""
    if len(task.candidates) == 1:
        return next(iter(task.candidates)), {}
    pending = {
        name: [
            pool.submit(finished_run, (task.recipe, "heron", settings, seed, False, folder))
            for seed in task.choosing_seeds
        ]
        for name, settings in task.candidates.items()
    }
    scores = {
        name: statistics.fmean(value for run in of_arm for value in run.result()["validation"][-LAST_ROUNDS:])
        for name, of_arm in pending.items()
    }
    for name, score in scores.items():
        print(f"validation, seeds {task.choosing_seeds[0]} to {task.choosing_seeds[-1]}: {name} {100 * score:.2f}")
    return max(scores, key=lambda name: scores[name]), scores


def rows_of(arms: dict[str, tuple[str, ...]], runs: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """One row per arm: accuracy, bytes, and both against the reference."""
    reference = next(iter(runs.values()))
    whole = statistics.fmean(total_bytes(run) for run in reference)
    rows = []
    for name, of_arm in runs.items():
        losses = [base["test"] - run["test"] for base, run in zip(reference, of_arm, strict=True)]
        rows.append(
            {
                "arm": name,
                "settings": arms[name],
                "test_accuracy": statistics.fmean(run["test"] for run in of_arm),
                "test_accuracy_standard_error": standard_error([run["test"] for run in of_arm]),
                "bytes": statistics.fmean(total_bytes(run) for run in of_arm),
                "share_of_traffic": statistics.fmean(total_bytes(run) for run in of_arm) / whole,
                "loss": statistics.fmean(losses),
                "loss_standard_error": standard_error(losses),
                "runs": [{"seed": run["seed"], "test": run["test"], "bytes": total_bytes(run)} for run in of_arm],
            }
        )
    return rows


def total_bytes(run: dict[str, Any]) -> int:
    """Both directions."""
    return int(run["uplink_bytes"]) + int(run["downlink_bytes"])


def print_rows(task: Task, name: str, rows: list[dict[str, Any]]) -> None:
    """A table, and what was asked for."""
    print(f"{'arm':34} {'test accuracy':>15} {'MB':>9} {'traffic':>9} {'loss, points':>15}")
    for row in rows:
        accuracy = f"{100 * row['test_accuracy']:.1f} ± {100 * (row['test_accuracy_standard_error'] or 0):.1f}"
        loss = f"{100 * row['loss']:+.1f} ± {100 * (row['loss_standard_error'] or 0):.1f}"
        share = f"1/{1 / row['share_of_traffic']:.1f}"
        print(f"{row['arm']:34} {accuracy:>15} {row['bytes'] / 1e6:9.2f} {share:>9} {loss:>15}")
    row = next(row for row in rows if row["arm"] == name)
    is_met = row["share_of_traffic"] <= task.target and row["loss"] <= task.loss
    print(f"asked of {name!r}: 1/{1 / task.target:.0f} at {100 * task.loss:.0f} point: {'met' if is_met else 'missed'}")


def main() -> None:
    """Run, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--runs", type=Path, default=Path("runs/traffic"), help="default runs/traffic")
    parser.add_argument("--workers", type=int, help="runs at a time; default one per core")
    options = parser.parse_args()
    task = TASKS[options.task]
    with ProcessPoolExecutor(options.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        name, scores = chosen(task, pool, options.runs)
        arms = task.arms | {name: task.candidates[name]}
        pending = {
            arm: [
                pool.submit(finished_run, (task.recipe, "heron", settings, seed, True, options.runs))
                for seed in task.seeds
            ]
            for arm, settings in arms.items()
        }
        runs = {arm: [run.result() for run in of_arm] for arm, of_arm in pending.items()}
    rows = rows_of(arms, runs)
    print_rows(task, name, rows)
    result = {
        "hardware": describe(),
        "recipe": task.recipe,
        "target": {"share_of_traffic": task.target, "loss": task.loss, "arm": name},
        "validation_of_candidates": scores,
        "rows": rows,
    }
    (RESULTS / f"traffic_{options.task}.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
