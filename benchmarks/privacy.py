"""Accuracy against epsilon: heron, DP first order and a frozen client, with their memory and compute.

    python benchmarks/privacy.py digits [--arms TEXT] [--seeds 0,1,...] [--runs FOLDER] [--workers N]
    python benchmarks/privacy.py cifar10_narrow
    python benchmarks/privacy.py --variants
    python benchmarks/privacy.py --draw

digits: five clients of some 230 examples, 640 steps each, Poisson batches of 32, twenty seeds. cifar10_narrow:
cifar10-resnet18-small with GroupNorm, five clients of 900 examples, 96 steps each, batches of 64 in micro-batches of
16, ten seeds; needs the data (`HERON_DATA`). Delta 1e-5, rates that fall on a cosine. Every arm with a grid of rates
and clips (`privacy_arms.py`) is tuned on the validation split of further seeds, then run at its best point on all
seeds; the test split is read once, after the last round. What tuning costs in privacy is in no figure. Finished runs
are kept below the folder, and benchmarks/results/privacy_TASK.json is written after every arm. The noise is the
device's, so that two runs with one seed differ. `--arms` leaves out what does not contain the text, and writes no file.

With --variants other clients are trained on digits on the four seeds of tuning, compared on the validation split, and
saved in benchmarks/results/privacy_variants.json.

With --draw the figure docs/figures/privacy.png is made from these results.
"""

import argparse
import json
import multiprocessing
import statistics
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import matplotlib as mpl
from hardware import describe
from matplotlib import pyplot as plt
from privacy_arms import CLIENTS, DELTA, FROZEN, KINDS, TASKS, TUNE_SEEDS, VARIANTS
from study import RESULTS, finished_run, last_validation, tuned_row

from heron.analysis import standard_error

FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "privacy.png"
MARKERS = {"heron, q=4": "o", "DP first order": "s"}


def main() -> None:
    """Tune, run, save after every arm; or draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", nargs="?", choices=TASKS, default="digits", help="default digits")
    parser.add_argument("--arms", default="", help="only arms whose name contains this; no file is written")
    parser.add_argument("--seeds", help="default those of the task")
    parser.add_argument("--runs", type=Path, default=Path("runs/privacy"), help="default runs/privacy")
    parser.add_argument("--workers", type=int, help="runs at a time; default one per core")
    parser.add_argument("--variants", action="store_true", help="compare other forward-only clients on validation data")
    parser.add_argument("--draw", action="store_true", help="draw the figure from the saved results")
    options = parser.parse_args()
    if options.draw:
        draw(FIGURE)
        return
    if options.variants:
        compare_variants(options.workers, options.runs)
        return
    task = TASKS[options.task]
    seeds = task.seeds if options.seeds is None else tuple(map(int, options.seeds.split(",")))
    rows = []
    with ProcessPoolExecutor(options.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for arm in (arm for arm in task.arms if options.arms in arm.name):
            row = tuned_row(task, arm, seeds, pool, options.runs)
            mean, error = statistics.fmean(row["test_accuracies"]), standard_error(row["test_accuracies"])
            rows.append({**row, "test_accuracy": mean, "standard_error": error})
            print(f"{arm.name:28} {100 * mean:.1f} +- {100 * (error or 0.0):.1f}", flush=True)
            result = {
                "hardware": describe(),
                "recipe": task.recipe,
                "seeds": seeds,
                "tuning_seeds": task.tune_seeds,
                "delta": float(DELTA),
                "rows": rows,
            }
            if not options.arms:
                (RESULTS / f"privacy_{options.task}.json").write_text(json.dumps(result, indent=1) + "\n")


def compare_variants(workers: int | None, folder: Path) -> None:
    """Train the variants, print and save their validation accuracy."""
    task, rows = TASKS["digits"], []
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for arm in VARIANTS:
            (point,) = map(tuple, arm.candidates())
            cases = [(task.recipe, arm.algorithm, point, seed, False, folder) for seed in TUNE_SEEDS]
            reached = [last_validation(task, run) for run in pool.map(finished_run, cases)]
            mean, error = statistics.fmean(reached), standard_error(reached) or 0.0
            rows.append({"arm": arm.name, "settings": point, "validation": reached})
            print(f"{arm.name:44} {100 * mean:.1f} +- {100 * error:.1f}", flush=True)
    result = {"hardware": describe(), "recipe": task.recipe, "seeds": TUNE_SEEDS, "rows": rows}
    (RESULTS / "privacy_variants.json").write_text(json.dumps(result, indent=1) + "\n")


def draw(path: Path) -> None:
    """Draw accuracy against epsilon with standard errors, and the frozen client as a line; a panel for each task."""
    mpl.use("agg")
    results = {task: RESULTS / f"privacy_{task}.json" for task in TASKS}
    rows = {task: json.loads(file.read_text())["rows"] for task, file in results.items() if file.exists()}
    figure, panels = plt.subplots(
        1, len(rows), figsize=(0.4 + 4.6 * len(rows), 3.6), layout="constrained", squeeze=False
    )
    for axes, (task, found) in zip(panels[0], rows.items(), strict=True):
        named = {row["arm"]: row for row in found}
        for client in CLIENTS[task]:
            points = [named[f"{client.label}, {kind}"] for kind in KINDS]
            means = [100 * row["test_accuracy"] for row in points]
            errors = [100 * (row["standard_error"] or 0.0) for row in points]
            marker = MARKERS[client.label]
            axes.errorbar(range(len(KINDS)), means, errors, label=client.label, marker=marker, capsize=3)
        frozen = 100 * named[FROZEN]["test_accuracy"]
        axes.axhline(frozen, color="grey", linestyle="--", label="frozen client")
        axes.set(xticks=range(len(KINDS)), xticklabels=KINDS, ylabel="test accuracy %", title=f"{task}, delta {DELTA}")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
