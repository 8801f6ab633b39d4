"""A fleet of five devices with 100 KiB to 1 MiB beside uniform fleets, and the page that shows it.

    python benchmarks/fleet.py [--seeds 0,1,2] [--rounds 20] [--runs FOLDER] [--workers N]

The devices are those of examples/fleet.toml; in `fleet` each has the largest `client.exact` that fits. The uniform
fleets have one boundary for all five: the smallest device's, which all can train, up to the largest device's, which
four of them could not. The client's rate of every arm is chosen on the validation split of a seed of its own (100),
the test split is read once. The peak of each client is measured in the federation, on its own data, and must be
within its budget. Finished runs are kept in FOLDER; saves benchmarks/results/fleet.json after every arm and writes the
tables of docs/results/fleet.md.
"""

import argparse
import multiprocessing
import statistics
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from all_algorithms import put_between
from hardware import describe
from study import RESULTS, finished_run

from heron.analysis import standard_error
from heron.config import build_run, recipe_config, resolve_budget
from heron.engines.profile import profile_client
from heron.report.units import bytes_text
from heron.runs.run_directory import write_json
from heron.wire.fleet import exact_of
from heron.wire.network import class_of

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "results" / "fleet.md"
RECIPE = "digits"
# The batch with which the smallest client fits into 100 KiB; ho_fl's clients hold the whole network.
ALGORITHMS = {"heron": ("client.batch_size=21",), "ho_fl": ("client.batch_size=15",)}
PROFILE = (f"link.profile={ROOT / 'examples' / 'fleet.toml'}", "client.memory_budget=device")
RATES = ("1e-2", "3e-2", "1e-1")
TUNE_SEEDS = (100,)
LAST_ROUNDS = 5


def clients_of(algorithm: str) -> list[dict[str, Any]]:
    """Every client of the fleet: its device, budget, boundary, and the peak that is measured on its own data."""
    config = resolve_budget(recipe_config(RECIPE, algorithm, [*ALGORITHMS[algorithm], *PROFILE, "rounds=1"]))
    federation = build_run(config, None).federation
    rows = []
    for client_id in range(config.clients.total):
        device = class_of(config.link.devices, config.seed, client_id)
        cost = profile_client(federation, repeats=1, client_id=client_id)
        if cost.peak_memory_bytes > device.memory_budget:
            raise SystemExit(f"client {client_id} takes {cost.peak_memory_bytes} bytes of {device.memory_budget}")
        rows.append(
            {
                "client": client_id,
                "device": device.name,
                "budget_bytes": device.memory_budget,
                "exact": exact_of(config, client_id),
                "measured_peak_bytes": cost.peak_memory_bytes,
                "flops_per_step": cost.flops_per_step,
            }
        )
    return rows


def arms_of(algorithm: str, clients: list[dict[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Settings by name: the fleet, and a uniform fleet for each boundary in it."""
    boundaries = sorted({row["exact"] for row in clients})
    common = ALGORITHMS[algorithm]
    uniform = {f"all `client.exact={exact}`": (*common, f"client.exact={exact}") for exact in boundaries}
    return {"fleet": (*common, *PROFILE), **uniform}


def row_of(
    algorithm: str, name: str, settings: tuple[str, ...], seeds: list[int], pool: ProcessPoolExecutor, folder: Path
) -> dict[str, Any]:
    """Choose the rate, run all seeds."""
    points = [(*settings, f"client.learning_rate={rate}") for rate in RATES]
    cases = [(RECIPE, algorithm, point, seed, False, folder) for point in points for seed in TUNE_SEEDS]
    found = [statistics.fmean(run["validation"][-LAST_ROUNDS:]) for run in pool.map(finished_run, cases)]
    scores = [
        statistics.fmean(found[start : start + len(TUNE_SEEDS)]) for start in range(0, len(found), len(TUNE_SEEDS))
    ]
    best = points[max(range(len(points)), key=scores.__getitem__)]
    runs = list(pool.map(finished_run, [(RECIPE, algorithm, best, seed, True, folder) for seed in seeds]))
    accuracies = [run["test"] for run in runs]
    return {
        "algorithm": algorithm,
        "arm": name,
        "settings": [setting.replace(f"{ROOT}/", "") for setting in best],
        "grid": dict(zip(RATES, scores, strict=True)),
        "test_accuracies": accuracies,
        "test_accuracy": statistics.fmean(accuracies),
        "standard_error": standard_error(accuracies),
        "uplink_bytes": runs[0]["uplink_bytes"],
        "downlink_bytes": runs[0]["downlink_bytes"],
    }


def tables(clients: dict[str, list[dict[str, Any]]], rows: list[dict[str, Any]]) -> str:
    """Both tables in Markdown."""
    lines = ["| client | device | budget |" + "".join(f" {name}: `exact` | measured peak |" for name in clients)]
    lines.append("|---" * (3 + 2 * len(clients)) + "|")
    for of_client in zip(*clients.values(), strict=True):
        first = of_client[0]
        cells = [str(first["client"]), first["device"], bytes_text(first["budget_bytes"])]
        for row in of_client:
            cells += [str(row["exact"]), bytes_text(row["measured_peak_bytes"])]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| algorithm | clients | rate | test accuracy % | uplink | downlink |", "|---|---|---|---|---|---|"]
    for row in rows:
        rate = row["settings"][-1].partition("=")[2]
        lines.append(
            f"| `{row['algorithm']}` | {row['arm']} | {rate} | {100 * row['test_accuracy']:.1f} ± "
            f"{100 * (row['standard_error'] or 0.0):.1f} | {bytes_text(row['uplink_bytes'])} | "
            f"{bytes_text(row['downlink_bytes'])} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure the clients, run the arms, save after each, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2", help="default 0,1,2")
    parser.add_argument("--rounds", type=int, default=20, help="default 20")
    parser.add_argument("--runs", type=Path, default=Path("runs/fleet"), help="of finished runs; default runs/fleet")
    parser.add_argument("--workers", type=int, help="runs at a time; default one per core")
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    clients = {algorithm: clients_of(algorithm) for algorithm in ALGORITHMS}
    facts = {"hardware": describe(), "recipe": RECIPE, "rounds": options.rounds, "seeds": seeds, "clients": clients}
    rows: list[dict[str, Any]] = []
    with ProcessPoolExecutor(options.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for algorithm in ALGORITHMS:
            for name, settings in arms_of(algorithm, clients[algorithm]).items():
                case = (f"rounds={options.rounds}", *settings)
                rows.append(row_of(algorithm, name, case, seeds, pool, options.runs))
                write_json(RESULTS / "fleet.json", {**facts, "rows": rows})
    put_between(PAGE, tables(clients, rows))
    print(tables(clients, rows))


if __name__ == "__main__":
    main()
