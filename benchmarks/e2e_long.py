"""A run long enough for probes to pay on a language model: gpt2-mini on E2E NLG, 2 clients, 2,000 steps at each.

    python benchmarks/e2e_long.py [--runs FOLDER] [--arms NAME;...] [--rounds 40] [--out FILE]
    python benchmarks/e2e_long.py --tune

Validation and test loss every few rounds, one seed, for the frozen client, HERON-SFL as published, layer-local
learning by exact gradients and by probes, HO-SFL, CSE-FSL and SFL-V2: equal rounds, data and batches. Runs are run
directories below the folder with a checkpoint after every round; a killed script goes on where it was. One process,
one thread, arm after arm; the file is written after every arm, benchmarks/results/e2e_long.json by default.
`--rounds` of another number is a trial. `--tune` makes short runs on another seed that compare rates by the
validation loss, and saves benchmarks/results/e2e_long_rates.json. Needs the data and the model next to it
(`HERON_DATA`).
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from hardware import describe

from heron.config import build_run, plan_cost, recipe_config

RECIPE = "e2e-gpt2-mini"
RESULTS = Path(__file__).parent / "results" / "e2e_long.json"
NUM_ROUNDS, NUM_STEPS = 40, 50
# Batches of 2 in place of 16 and 2 clients in place of 3: the scores of 50,257 tokens, made once by the server and up
# to four times by a client from 30 positions of each example, are most of the compute, 0.1 to 0.2 s a step on one core.
# One pass over 8,000 of the 42,061 examples.
SETTINGS = (
    "threads=1",
    "clients.total=2",
    "client.batch_size=2",
    f"client.local_steps={NUM_STEPS}",
    "evaluation_period=4",
    "data.train_limit=8000",
    "data.validation_limit=200",
    "data.test_limit=100",
)
_OF_CLIENT = "client.learning_rate"
# Client rates are those of the study of 96 steps, which are the recipe's, as that of the server, 2e-3; layer groups
# take those of the client of their order whose layers learn from one loss. Short runs (--tune) compare those of ho_sfl
# and local, which the study did not have.
GRID: dict[str, tuple[str, ...]] = {
    "frozen": ("1e-3",),
    "ho_sfl": ("3e-4", "3e-3", "3e-2"),
    "local": ("1e-4", "5e-4"),
}
TUNE_SEED, TUNE_ROUNDS = 100, 2
ARMS: dict[str, tuple[str, tuple[str, ...]]] = {
    "frozen": ("frozen", ()),
    "heron": ("heron", (f"{_OF_CLIENT}=3e-4",)),
    "local": ("local", (f"{_OF_CLIENT}=1e-4",)),
    "ho_sfl": ("ho_sfl", (f"{_OF_CLIENT}=3e-4",)),
    "cse_fsl": ("cse_fsl", (f"{_OF_CLIENT}=5e-4",)),
    "sflv2": ("sflv2", ()),
    "heron, local zeroth order": ("heron", (f"{_OF_CLIENT}=3e-4", "client.learning=local_zeroth_order")),
}
_KEYS = (
    "round",
    "client_loss",
    "train_loss",
    "validation_loss",
    "validation_perplexity",
    "test_loss",
    "test_perplexity",
    "uplink_bytes",
    "downlink_bytes",
    "elapsed_s",
)


def finished_row(name: str, num_rounds: int, folder: Path) -> dict[str, Any]:
    """Train an arm, or what is left of it, and return its row."""
    algorithm, own = ARMS[name]
    config = recipe_config(RECIPE, algorithm, ["seed=0", *SETTINGS, f"rounds={num_rounds}", *own])
    run = build_run(config, folder / name.replace(", ", "-").replace(" ", "_"))
    run.restore()
    started = time.perf_counter()

    def tell(row: dict[str, Any]) -> None:
        shown = f", validation loss {row['validation_loss']:.4f}" if "validation_loss" in row else ""
        print(f"{name}: round {row['round']}, {time.perf_counter() - started:.0f} s{shown}", flush=True)

    metrics = run.train(tell)
    return {
        "arm": name,
        "algorithm": algorithm,
        "settings": ["seed=0", *SETTINGS, f"rounds={num_rounds}", *own],
        "client_learning_rate": config.client.learning_rate,
        "server_learning_rate": config.server.learning_rate,
        "steps_per_client": num_rounds * NUM_STEPS,
        "cost": plan_cost(config).to_dict(),
        "curve": [{key: row.get(key) for key in _KEYS} for row in metrics],
    }


def tune() -> None:
    """Print and save the validation loss of a short run at every rate of the grid."""
    path = RESULTS.with_name("e2e_long_rates.json")
    found = json.loads(path.read_text())["rows"] if path.exists() else []
    common = [f"seed={TUNE_SEED}", f"rounds={TUNE_ROUNDS}", f"evaluation_period={TUNE_ROUNDS}", "data.test_limit=20"]
    for algorithm, rates in GRID.items():
        for rate in rates:
            if (algorithm, rate) in {(row["algorithm"], row[_OF_CLIENT]) for row in found}:
                continue
            settings = [*SETTINGS, *common, f"{_OF_CLIENT}={rate}"]
            last = build_run(recipe_config(RECIPE, algorithm, settings), None).train()[-1]
            found.append({"algorithm": algorithm, _OF_CLIENT: rate, "validation_loss": last["validation_loss"]})
            print(f"{algorithm} {rate}: {last['validation_loss']:.4f}, {last['elapsed_s']:.0f} s", flush=True)
            text = json.dumps({"hardware": describe(), "settings": [*SETTINGS, *common], "rows": found}, indent=1)
            path.write_text(text + "\n")


def main() -> None:
    """Finish the arms one after the other, save after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/e2e_long"), help="default runs/e2e_long")
    parser.add_argument("--arms", default=";".join(ARMS), help="default all, in the order of the table")
    parser.add_argument("--rounds", type=int, default=NUM_ROUNDS, help=f"default {NUM_ROUNDS}")
    parser.add_argument("--out", type=Path, default=RESULTS, help="default benchmarks/results/e2e_long.json")
    parser.add_argument("--tune", action="store_true", help="make the runs that rates are chosen from, and no others")
    options = parser.parse_args()
    if options.tune:
        tune()
        return
    rows: list[dict[str, Any]] = []
    for name in options.arms.split(";"):
        rows.append(row := finished_row(name, options.rounds, options.runs))
        found = {"hardware": describe(), "recipe": RECIPE, "rows": rows}
        options.out.write_text(json.dumps(found, indent=1) + "\n")
        last = row["curve"][-1]
        print(f"{name}: validation {last['validation_loss']:.4f}, test {last['test_loss']:.4f}", flush=True)


if __name__ == "__main__":
    main()
