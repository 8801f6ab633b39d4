"""Sentiment of sentences from clients that hold the first 2 or 5 of the 6 blocks of MiniLM: SST-2, 3 clients, LoRA.

    python benchmarks/sst2.py [--seeds 0,1,2] [--cuts 2,5] [--algorithms frozen,heron,...] [--table]

Accuracy on the dev set and on the test set after a small number of steps, one run for each algorithm, cut and seed, at
the rates of the recipe. A step is a batch at one client. The client of fedavg holds the whole network, so that the cut
changes nothing in its results: it is run at the first cut alone. Saves benchmarks/results/sst2.json after every run;
those that are in it are not made again. `--table` prints what is saved and runs nothing. Needs the data and the model
next to it (`HERON_DATA`).
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

from hardware import describe

from heron.analysis import standard_error
from heron.config import RunConfig, build_run, fingerprint, plan_cost, recipe_config

RECIPE = "sst2-minilm"
RESULTS = Path(__file__).parent / "results" / "sst2.json"
ALGORITHMS = "frozen,heron,local,cse_fsl,sflv2,fedavg"
NUM_ROUNDS, NUM_STEPS = 3, 10
# Batches of half the recipe's size, sentences of at most 40 tokens, 400 of the 872 sentences of the dev set and 900 of
# the 1,821 of the test set, so that a run takes a minute of one core.
SETTINGS = (
    "threads=1",
    f"rounds={NUM_ROUNDS}",
    f"evaluation_period={NUM_ROUNDS}",
    f"client.local_steps={NUM_STEPS}",
    "client.batch_size=16",
    "data.max_length=40",
    "data.validation_limit=400",
    "data.test_limit=900",
)

Row = dict[str, Any]


def measured(config: RunConfig) -> Row:
    """Train one run and return its row."""
    cost = plan_cost(config)
    started, busy = time.perf_counter(), time.process_time()
    last = build_run(config, None).train()[-1]
    return {
        "algorithm": config.algorithm,
        "cut": config.split.cut,
        "seed": config.seed,
        "fingerprint": fingerprint(config),
        "steps": NUM_ROUNDS * NUM_STEPS * config.clients.total,
        "client_learning_rate": config.client.learning_rate,
        "server_learning_rate": config.server.learning_rate,
        "minutes": (time.perf_counter() - started) / 60,
        "cpu_minutes": (time.process_time() - busy) / 60,
        "dev_accuracy": last["validation_accuracy"],
        "dev_loss": last["validation_loss"],
        "test_accuracy": last["test_accuracy"],
        "test_loss": last["test_loss"],
        "uplink_bytes": last["uplink_bytes"],
        "downlink_bytes": last["downlink_bytes"],
        "peak_memory_bytes": cost.peak_memory_bytes,
        "flops_per_step": cost.flops_per_step,
    }


def print_table(rows: list[Row]) -> None:
    """Print means and standard errors over seeds, of the differences to the frozen client paired by seed."""
    print(
        "| cut | arm | seeds | dev % | test % | over frozen | loss over frozen | memory | step | up | down | minutes |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for cut, name in dict.fromkeys((row["cut"], row["algorithm"]) for row in rows):
        own = {row["seed"]: row for row in rows if (row["cut"], row["algorithm"]) == (cut, name)}
        frozen = {row["seed"]: row for row in rows if (row["cut"], row["algorithm"]) == (cut, "frozen")}
        pairs = [] if name == "frozen" else [(row, frozen[seed]) for seed, row in own.items() if seed in frozen]
        gaps = [row["test_accuracy"] - other["test_accuracy"] for row, other in pairs]
        losses = [row["test_loss"] - other["test_loss"] for row, other in pairs]
        first, minutes = next(iter(own.values())), statistics.fmean(row["cpu_minutes"] for row in own.values())
        print(
            f"| {cut} | {name} | {len(own)} | {_points([row['dev_accuracy'] for row in own.values()])} "
            f"| {_points([row['test_accuracy'] for row in own.values()])} "
            f"| {_points(gaps)} | {_mean(losses, 3)} | {first['peak_memory_bytes'] / 2**20:.0f} MiB "
            f"| {first['flops_per_step'] / 1e9:.1f} GFLOP | {first['uplink_bytes'] / 2**20:.0f} MiB "
            f"| {first['downlink_bytes'] / 2**20:.1f} MiB | {minutes:.1f} |"
        )


def _points(shares: list[float]) -> str:
    """Mean and standard error in percent."""
    return _mean([100 * share for share in shares], 1)


def _mean(values: list[float], places: int) -> str:
    """Mean and standard error; a dash for none."""
    if not values:
        return "-"
    error = standard_error(values)
    return f"{statistics.fmean(values):.{places}f}" + ("" if error is None else f" ± {error:.{places}f}")


def main() -> None:
    """Make the runs that are missing, print each, save after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2", help="default 0,1,2")
    parser.add_argument("--cuts", default="2,5", help="blocks on the client; default 2,5")
    parser.add_argument("--algorithms", default=ALGORITHMS, help=f"default {ALGORITHMS}")
    parser.add_argument("--table", action="store_true", help="print what is saved, run nothing")
    options = parser.parse_args()
    saved: dict[str, Any] = {"settings": list(SETTINGS), "rows": []}
    if RESULTS.exists():
        saved = json.loads(RESULTS.read_text())
    rows: list[Row] = saved["rows"]
    if saved["settings"] != list(SETTINGS):
        parser.error(f"expected the settings of this script in {RESULTS}, found others; remove it")
    if options.table:
        print_table(sorted(rows, key=lambda row: (row["cut"], ALGORITHMS.split(",").index(row["algorithm"]))))
        return
    cuts = [int(cut) for cut in options.cuts.split(",")]
    for seed in map(int, options.seeds.split(",")):
        for cut in cuts:
            for algorithm in options.algorithms.split(","):
                config = recipe_config(RECIPE, algorithm, [*SETTINGS, f"split.cut={cut}", f"seed={seed}"])
                is_known = (algorithm, cut, seed) in {(row["algorithm"], row["cut"], row["seed"]) for row in rows}
                if is_known or (algorithm == "fedavg" and cut != cuts[0]):
                    continue
                rows.append(row := measured(config))
                found = {"hardware": describe(), "recipe": RECIPE, "settings": SETTINGS, "rows": rows}
                RESULTS.write_text(json.dumps(found, indent=1) + "\n")
                print(
                    f"{algorithm}, cut {cut}, seed {seed}: dev {100 * row['dev_accuracy']:.1f}%, test "
                    f"{100 * row['test_accuracy']:.1f}%, {row['steps']} steps, {row['cpu_minutes']:.1f} CPU min",
                    flush=True,
                )


if __name__ == "__main__":
    main()
