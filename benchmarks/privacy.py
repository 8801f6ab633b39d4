"""Accuracy against epsilon: heron, DP first order and a frozen client, with their memory and compute.

    python benchmarks/privacy.py [--seeds 0,1,...] [--runs FOLDER] [--workers N]
    python benchmarks/privacy.py --draw

Digits at delta 1e-5, five clients of some 230 examples, 640 steps each, Poisson batches of 32, rates that fall on a
cosine. Every arm is tuned over its grid of rates and clips on the validation split of two further seeds, then run at
its best point on all seeds; the test split is read once, after the last round. What tuning costs in privacy is in no
figure. Finished runs are kept below the folder, and benchmarks/results/privacy.json is written after every arm. The
noise is the device's, so that two runs with one seed differ.

With --draw the figure docs/figures/privacy.png is made from these results.
"""

import argparse
import json
import multiprocessing
import statistics
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import matplotlib as mpl
from hardware import describe
from matplotlib import pyplot as plt
from study import RESULTS, finished_run
from study_arms import Arm

from heron.analysis import standard_error
from heron.config import plan_cost, recipe_config

RECIPE = "digits-published"
EPSILONS = ("1", "3", "8")
TUNE_SEEDS, LAST_ROUNDS = (100, 101), 3
_BASE = (
    "rounds=80",
    "client.local_steps=8",
    "client.batch_size=32",
    "client.exact=0",
    "client.keep_state=true",
    "server.learning_rate=3e-3",
)
_RATES = {"client.schedule": ("cosine",), "client.learning_rate": ("1e-2", "3e-2")}
FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "privacy.png"


def arms() -> list[Arm]:
    """Frozen, both clients without noise, and both at every epsilon."""
    found = [Arm("frozen", "frozen", _BASE)]
    clips = {"heron": ("1", "3"), "cse_fsl": ("0.3", "1")}
    for algorithm, own in clips.items():
        probes = ("estimator.probes=4",) if algorithm == "heron" else ()
        found.append(Arm(f"{algorithm}, no privacy", algorithm, (*_BASE, *probes), _RATES))
        for epsilon in EPSILONS:
            private = (*_BASE, *probes, f"privacy.epsilon={epsilon}", "privacy.delta=1e-5")
            found.append(Arm(f"{algorithm}, epsilon {epsilon}", algorithm, private, {**_RATES, "privacy.clip": own}))
    return found


def main() -> None:
    """Tune, run, save after every arm; or draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2,3,4,5,6,7,8,9", help="default 0 to 9")
    parser.add_argument("--runs", type=Path, default=Path("runs/privacy"), help="default runs/privacy")
    parser.add_argument("--workers", type=int, help="runs at a time; default one per core")
    parser.add_argument("--draw", action="store_true", help="draw the figure from the saved results")
    options = parser.parse_args()
    if options.draw:
        rows = json.loads((RESULTS / "privacy.json").read_text())["rows"]
        draw(rows, FIGURE)
        return
    seeds = [int(seed) for seed in options.seeds.split(",")]
    rows = []
    with ProcessPoolExecutor(options.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for arm in arms():
            rows.append(_row(arm, seeds, pool, options.runs))
            error = rows[-1]["standard_error"] or 0.0
            print(f"{arm.name:24} {100 * rows[-1]['test_accuracy']:.1f} +- {100 * error:.1f}", flush=True)
            result = {
                "hardware": describe(),
                "recipe": RECIPE,
                "seeds": seeds,
                "tuning_seeds": TUNE_SEEDS,
                "delta": 1e-5,
                "rows": rows,
            }
            (RESULTS / "privacy.json").write_text(json.dumps(result, indent=1) + "\n")


def _row(arm: Arm, seeds: list[int], pool: ProcessPoolExecutor, folder: Path) -> dict[str, Any]:
    """Tune an arm and run it on all seeds."""
    points = [tuple(settings) for settings in arm.candidates()]
    tuned = points if len(points) > 1 else []
    cases = [(RECIPE, arm.algorithm, point, seed, False, folder) for point in tuned for seed in TUNE_SEEDS]
    reached = [statistics.fmean(run["validation"][-LAST_ROUNDS:]) for run in pool.map(finished_run, cases)]
    scores = [
        statistics.fmean(reached[start : start + len(TUNE_SEEDS)]) for start in range(0, len(reached), len(TUNE_SEEDS))
    ]
    best = points[max(range(len(scores)), key=scores.__getitem__)] if scores else points[0]
    runs = list(pool.map(finished_run, [(RECIPE, arm.algorithm, best, seed, True, folder) for seed in seeds]))
    accuracies = [run["test"] for run in runs]
    return {
        "arm": arm.name,
        "algorithm": arm.algorithm,
        "settings": best,
        "grid": [{"settings": point, "validation": score} for point, score in zip(tuned, scores, strict=True)],
        "cost": plan_cost(recipe_config(RECIPE, arm.algorithm, list(best))).to_dict(),
        "test_accuracies": accuracies,
        "test_accuracy": statistics.fmean(accuracies),
        "standard_error": standard_error(accuracies),
    }


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw accuracy against epsilon with standard errors, and the frozen client as a line."""
    mpl.use("agg")
    named = {row["arm"]: row for row in rows}
    kinds = [*(f"epsilon {epsilon}" for epsilon in EPSILONS), "no privacy"]
    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for algorithm, label, marker in (("heron", "heron, q = 4", "o"), ("cse_fsl", "DP first order", "s")):
        found = [named[f"{algorithm}, {kind}"] for kind in kinds]
        means = [100 * row["test_accuracy"] for row in found]
        errors = [100 * (row["standard_error"] or 0.0) for row in found]
        axes.errorbar(range(len(kinds)), means, errors, label=label, marker=marker, capsize=3)
    axes.axhline(100 * named["frozen"]["test_accuracy"], color="grey", linestyle="--", label="frozen client")
    axes.set(xticks=range(len(kinds)), xticklabels=kinds, ylabel="test accuracy %", title="digits, delta 1e-5")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
