"""Layer-local clients: share of a first-order client's gain that they recover, with their memory and compute.

    python benchmarks/layer_local.py digits [--arms NAME;...] [--seeds 0,1,...] [--runs FOLDER] [--workers N]
    python benchmarks/layer_local.py digits --rounds 40
    python benchmarks/layer_local.py cifar10_narrow

Every arm is tuned over its grid of rates on the validation split of seeds of their own (100 and on), then run at its
best point on all seeds, paired, and the test split is read once, after the last round. Costs are those of one client
step, measured. Finished runs are kept below the folder, and benchmarks/results/layer_local_TASK.json is written after
every arm (layer_local_TASK_N_rounds.json with `--rounds N`), so the script can be interrupted.
"""

import argparse
import json
import multiprocessing
import statistics
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from hardware import describe
from study import RESULTS, tuned_row
from study_arms import Arm, Task

from heron.analysis import standard_error

_OURS = ("client.exact=0", "client.keep_state=false", "client.schedule=cosine", "estimator.probes=1")
_ZEROTH = ("client.learning=local_zeroth_order",)
_CLIENT, _EXACT, _SERVER = "client.learning_rate", "client.exact_learning_rate", "server.learning_rate"


def _arms(rates: dict[str, tuple[str, ...]], pools: tuple[int, ...]) -> tuple[Arm, ...]:
    """The arms of a task, the ends of the scale first; `rates` has a grid for each kind of client."""
    server = {_SERVER: rates["server"]}
    exact, probed = {_CLIENT: rates["exact"], **server}, {_CLIENT: rates["probed"], **server}
    both = {_CLIENT: rates["probed"], _EXACT: rates["heads"], **server}

    def local(pool: int) -> Arm:
        return Arm(f"local, pool {pool}", "local", (*_OURS, f"client.local_pool={pool}"), exact)

    def zeroth(name: str, *settings: str, grid: dict[str, tuple[str, ...]]) -> Arm:
        return Arm(f"heron, local zeroth order, {name}", "heron", (*_OURS, *_ZEROTH, *settings), grid)

    pool = f"client.local_pool={pools[0]}"
    return (
        Arm("frozen", "frozen", _OURS, server),
        Arm("cse_fsl", "cse_fsl", _OURS, exact),
        *map(local, pools),
        zeroth("exact heads", pool, "client.exact=1", grid=both),
        zeroth("q=1", pool, grid=probed),
        Arm("heron, head exact", "heron", (*_OURS, "client.exact=1"), both),
        Arm("heron, published", "heron", ("client.exact=0", "estimator.probes=1"), probed),
    )


TASKS = {
    "digits": Task(
        recipe="digits-published",
        settings=(),
        tune_seeds=(100, 101),
        seeds=tuple(range(10)),
        last_rounds=5,
        arms=_arms(
            {
                "server": ("1e-2",),
                "exact": ("3e-3", "1e-2", "3e-2", "1e-1"),
                "probed": ("3e-3", "1e-2", "3e-2"),
                "heads": ("1e-2", "3e-2"),
            },
            (1, 2, 4),
        ),
    ),
    "cifar10_narrow": Task(
        recipe="cifar10-resnet18-small",
        settings=("rounds=20",),
        tune_seeds=(100,),
        seeds=tuple(range(5)),
        last_rounds=3,
        arms=_arms(
            {"server": ("3e-3",), "exact": ("3e-3", "1e-2"), "probed": ("3e-3", "1e-2"), "heads": ("1e-2",)}, (4,)
        ),
    ),
}


def main() -> None:
    """Tune, run, save after every arm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--arms", help="names, default all")
    parser.add_argument("--seeds", help="default those of the task")
    parser.add_argument("--runs", type=Path, default=Path("runs/layer_local"), help="default runs/layer_local")
    parser.add_argument("--workers", type=int, help="runs at a time; default one per core")
    parser.add_argument("--rounds", type=int, help="default those of the task")
    options = parser.parse_args()
    task, name = TASKS[options.task], options.task
    if options.rounds is not None:
        task, name = replace(task, settings=(f"rounds={options.rounds}",)), f"{name}_{options.rounds}_rounds"
    names = options.arms.split(";") if options.arms else [arm.name for arm in task.arms]
    seeds = [int(seed) for seed in options.seeds.split(",")] if options.seeds else list(task.seeds)
    rows: list[dict[str, Any]] = []
    with ProcessPoolExecutor(options.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for arm in (arm for arm in task.arms if arm.name in names):
            rows.append(tuned_row(task, arm, seeds, pool, options.runs / options.task))
            _add_measures(rows)
            _print(rows[-1])
            result = {"hardware": describe(), "recipe": task.recipe, "seeds": seeds, "rows": rows}
            (RESULTS / f"layer_local_{name}.json").write_text(json.dumps(result, indent=1) + "\n")


def _add_measures(rows: list[dict[str, Any]]) -> None:
    """Add to every row what compares it with the two ends: gain, paired differences, memory and compute."""
    ends = {row["arm"]: row for row in rows if row["arm"] in ("frozen", "cse_fsl")}
    for row in rows:
        accuracies = row["test_accuracies"]
        row["test_accuracy"], row["standard_error"] = statistics.fmean(accuracies), standard_error(accuracies)
        if len(ends) < 2:
            continue
        low, high = (ends[name]["test_accuracies"] for name in ("frozen", "cse_fsl"))
        gain = statistics.fmean(high) - statistics.fmean(low)
        row["gain_recovered"] = (row["test_accuracy"] - statistics.fmean(low)) / gain
        # Of the ratio of means, to first order: the spread of what a seed misses of its own share.
        share = row["gain_recovered"]
        misses = [mine - a - share * (b - a) for mine, a, b in zip(accuracies, low, high, strict=True)]
        error = standard_error(misses)
        row["gain_recovered_standard_error"] = None if error is None else error / gain
        row["over_frozen"] = statistics.fmean(accuracies) - statistics.fmean(low)
        row["over_frozen_standard_error"] = standard_error([mine - a for mine, a in zip(accuracies, low, strict=True)])
        for key in ("peak_memory_bytes", "flops_per_step"):
            row[f"{key}_over_cse_fsl"] = row["cost"][key] / ends["cse_fsl"]["cost"][key]
            row[f"{key}_over_frozen"] = row["cost"][key] / ends["frozen"]["cost"][key]


def _print(row: dict[str, Any]) -> None:
    error = row["standard_error"] or 0.0
    line = f"{row['arm']:40} {100 * row['test_accuracy']:.1f} +- {100 * error:.1f}"
    if "gain_recovered" in row:
        share_error = row["gain_recovered_standard_error"] or 0.0
        line += (
            f"  gain {100 * row['gain_recovered']:.0f} +- {100 * share_error:.0f}%"
            f"  memory {row['peak_memory_bytes_over_cse_fsl']:.2f}  compute {row['flops_per_step_over_cse_fsl']:.3f}"
        )
    print(line, " ".join(row["settings"]), flush=True)


if __name__ == "__main__":
    main()
