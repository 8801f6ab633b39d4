"""Choose the learning rates of `digits-published` for every algorithm on the validation split, from one grid.

    python benchmarks/tune_digits.py [--seeds 0,1,2] [--algorithms heron,cse_fsl,...]

Every (client rate, server rate) pair of the grid is run for every algorithm; the mean validation accuracy after the
last round decides. The frozen client has no client rate and FedAvg no server rate, so only the other is varied. The
test split is not read. Other algorithms keep their entries in the result file.
"""

import argparse
import json
import multiprocessing
import statistics
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from hardware import describe
from study import hide_test

from heron.algorithms import ALGORITHMS
from heron.config import build_run, recipe_config

CLIENT_RATES = (1e-3, 3e-3, 1e-2, 3e-2)
SERVER_RATES = (1e-3, 3e-3, 1e-2)
RESULT = Path(__file__).parent / "results" / "tune_digits.json"


Case = tuple[str, float, float, int]


def validation_accuracy(case: Case) -> float:
    """Validation accuracy after the last round of (algorithm, client rate, server rate, seed)."""
    algorithm, client_rate, server_rate, seed = case
    rates = [f"client.learning_rate={client_rate}", f"server.learning_rate={server_rate}"]
    config = recipe_config("digits-published", algorithm, [f"seed={seed}", "evaluation_period=1000", *rates])
    run = build_run(config, None)
    hide_test(run)
    return float(run.train()[-1]["validation_accuracy"])


def _saved_rows() -> list[dict[str, Any]]:
    return list(json.loads(RESULT.read_text())["grid"]) if RESULT.exists() else []


def main() -> None:
    """Run the grid and save it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2", help="default 0,1,2")
    parser.add_argument("--algorithms", default=",".join(ALGORITHMS), help="default all")
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    algorithms = options.algorithms.split(",")
    points = [
        (algorithm, client_rate, server_rate)
        for algorithm in algorithms
        for client_rate in (CLIENT_RATES[:1] if algorithm == "frozen" else CLIENT_RATES)
        for server_rate in (SERVER_RATES[:1] if algorithm == "fedavg" else SERVER_RATES)
    ]
    cases = [(*point, seed) for point in points for seed in seeds]
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        scores = dict(zip(cases, pool.map(validation_accuracy, cases), strict=True))
    rows = [row for row in _saved_rows() if row["algorithm"] not in algorithms]
    for algorithm, client_rate, server_rate in points:
        found = [scores[algorithm, client_rate, server_rate, seed] for seed in seeds]
        rows.append(
            {
                "algorithm": algorithm,
                "client_learning_rate": client_rate,
                "server_learning_rate": server_rate,
                "validation_accuracy": statistics.fmean(found),
                "validation_accuracies": found,
            }
        )
        print(f"{algorithm:8} client {client_rate:g} server {server_rate:g}: {100 * statistics.fmean(found):.1f}%")
    best = {
        algorithm: max(
            (row for row in rows if row["algorithm"] == algorithm), key=lambda row: row["validation_accuracy"]
        )
        for algorithm in dict.fromkeys(row["algorithm"] for row in rows)
    }
    RESULT.write_text(json.dumps({"hardware": describe(), "seeds": seeds, "best": best, "grid": rows}, indent=2) + "\n")
    for algorithm, row in best.items():
        print(f"best {algorithm}: client {row['client_learning_rate']:g} server {row['server_learning_rate']:g}")


if __name__ == "__main__":
    main()
