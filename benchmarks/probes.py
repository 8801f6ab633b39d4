"""Training on digits with cheaper probes at equal client FLOPs.

    python benchmarks/probes.py EXACT SEEDS [SCHEMES]    e.g. 1 0,1,2 plain-q1,flips@3e-3 (@: one client rate only)
    python benchmarks/probes.py                          the table of finished runs

80 rounds of `digits-published` each, from 15 s on an idle core; the schemes are those of `probe_schemes.py`. Validation
accuracy and loss are recorded after every fourth round. The table shows the accuracy's mean over rounds 12, 16, 20
(early) and that of both over rounds 64, 68, ..., 80 (late), because one round's accuracy moves by a point. The test
split is out of reach. Finished runs in benchmarks/results/probes.json, key "training", are not run again.
"""

import dataclasses
import functools
import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hardware import describe
from probe_schemes import Blocks, Flips, Guided, Part, ProbeClient, Shaped
from study import hide_test

from heron.algorithms import ALGORITHMS
from heron.config import build_run, recipe_config
from heron.engines.in_process import Federation
from heron.runs.run_loop import Run

RESULT = Path(__file__).parent / "results" / "probes.json"
# Of the evaluations, one every fourth round: those of rounds 12 to 20, and the last five.
EARLY, LATE = slice(2, 5), 5
# By client.exact: client rate and exact rate of plain HERON, which the stages of `quality` come from.
RATES = {1: (1e-2, 1e-2), 2: (1e-3, 3e-2)}
GRIDS = {1: (3e-3, 1e-2), 2: (1e-3, 3e-3)}
SGD_GRID = (1e-2, 3e-2, 1e-1)
# Name: settings, prototype (None: what heron has), rates (None: GRIDS).
Scheme = tuple[list[str], Callable[..., Part] | None, tuple[float, ...] | None]
SCHEMES: dict[str, Scheme] = {
    "frozen-bottom": (["estimator.probes=0"], None, (1e-3,)),
    "plain-q1": ([], None, None),
    "plain-q2": (["estimator.probes=2"], None, None),
    "sgd-q1": (["client.optimizer=sgd"], None, SGD_GRID),
    "momentum-q1": (["client.optimizer=momentum"], None, (1e-3, 3e-3, 1e-2)),
    "central-q1": (["estimator.scheme=central"], None, None),
    "normalised-sgd-q1": ([], functools.partial(Part, beta1=0.0, spread=True), None),
    "normalised-momentum-q2": (["estimator.probes=2"], functools.partial(Part, spread=True), None),
    "flips": ([], Flips, None),
    "blocks-top1": ([], Blocks, None),
    "blocks-top3": ([], functools.partial(Blocks, top=3), None),
    "shaped-q1": ([], Shaped, None),
    "travelled-q1": ([], functools.partial(Shaped, travelled=True), None),
    "guided-q1": ([], Guided, None),
    "decay-q1": ([], functools.partial(Part, decay_rounds=80), None),
    "decay-q2": (["estimator.probes=2"], functools.partial(Part, decay_rounds=80), None),
    "decay-flips": ([], functools.partial(Flips, decay_rounds=80), None),
    "decay-blocks-top3": ([], functools.partial(Blocks, top=3, decay_rounds=80), None),
}


def build(exact: int, seed: int, changes: list[str], make_client: Callable[..., Any] | None) -> Run[Federation]:
    """A run of `digits-published` without its test split."""
    _, exact_rate = RATES[exact]
    settings = [f"seed={seed}", "evaluation_period=4", f"client.exact={exact}", "server.learning_rate=1e-2"]
    settings.append(f"client.exact_learning_rate={exact_rate}")
    config = recipe_config("digits-published", "heron", [*settings, *changes])
    run = build_run(config, None)
    hide_test(run)
    if make_client:
        old = run.federation
        algorithm = dataclasses.replace(ALGORITHMS["heron"], make_client=make_client)
        split = config.split.build(config.seed)
        run.federation = Federation(split, algorithm, old.dataset, old.partition, old.settings)
    return run


def train(exact: int, seeds: list[int], names: list[str]) -> None:
    """Do the runs that are not in the result file yet."""
    for name in names:
        name, _, chosen = name.partition("@")
        changes, make_part, rates = SCHEMES[name]
        only = [float(chosen)] if chosen else []
        for rate in only or rates or GRIDS[exact]:
            for seed in seeds:
                case: dict[str, Any] = {"exact": exact, "scheme": name, "learning_rate": rate, "seed": seed}
                rows = load().get("training", [])
                if any(case.items() <= row.items() for row in rows):
                    continue
                make_client = make_part and functools.partial(ProbeClient, make_part=make_part)
                run = build(exact, seed, [f"client.learning_rate={rate}", *changes], make_client)
                started = time.perf_counter()
                rows = [row for row in run.train() if "validation_accuracy" in row]
                for what in ("accuracy", "loss"):
                    case[f"validation_{what}"] = [round(row[f"validation_{what}"], 4) for row in rows]
                case["seconds"] = round(time.perf_counter() - started, 1)
                print(case, flush=True)
                save({"training": [*load().get("training", []), case]})


def table() -> None:
    """Means and standard errors over seeds by scheme and rate."""
    groups = defaultdict(list)
    for row in load().get("training", []):
        groups[row["exact"], row["scheme"], row["learning_rate"]].append(row)
    for (exact, name, rate), rows in sorted(groups.items()):
        curves = [[100 * accuracy for accuracy in row["validation_accuracy"]] for row in rows]
        losses = [statistics.fmean(row["validation_loss"][-LATE:]) for row in rows]
        early, late = ([statistics.fmean(curve[part]) for curve in curves] for part in (EARLY, slice(-LATE, None)))
        texts = [f"{statistics.fmean(each):6.3f} +- {_error(each):5.3f}" for each in (early, late, losses)]
        print(f"exact {exact} {name:24} rate {rate:<7g} early {texts[0]} late {texts[1]} loss {texts[2]} ({len(rows)})")


def _error(values: list[float]) -> float:
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")


def load() -> dict[str, Any]:
    """Read the results so far."""
    return dict(json.loads(RESULT.read_text())) if RESULT.exists() else {}


def save(news: dict[str, Any]) -> None:
    """Add results to those in the file."""
    RESULT.write_text(json.dumps(load() | {"hardware": describe()} | news, indent=1) + "\n")


def main() -> None:
    """Do the requested runs, or show the table."""
    if sys.argv[1:]:
        exact, seeds, *names = sys.argv[1:]
        train(int(exact), [int(seed) for seed in seeds.split(",")], names[0].split(",") if names else [*SCHEMES])
    table()


if __name__ == "__main__":
    main()
