"""The engine's work per client and round outside the model, and that of pfl-research's loop, by CPU time.

    python benchmarks/engine_work.py [--rounds N] [--pfl PYTHON]

Digits with default settings: 5 clients, all in every round, one local epoch in batches of 32. `model` are forward
passes, losses and backward passes, `updates` optimisers and perturbations, `engine` is everything else
(`work_clock.py`). Each figure is a median over rounds. Evaluation is left out: it happens in no measured round.

1. `heron`, in memory and with a run directory, where every round ends with a checkpoint that is flushed to the disk.
2. `fedavg`, the same: no Main Server, no probes, so that the work is that of pfl-research.
3. With `--pfl PYTHON`, an interpreter with torch and `pip install pfl`: FederatedAveraging there, on the same network,
   the same clients and batches of the same size, in a process of its own (`engine_work_pfl.py`).

All take turns. Saves benchmarks/results/engine_work.json.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hardware import describe
from work_clock import KINDS, WorkClock

import heron.client.torch_runtime.boundary as boundary
from heron.client.zeroth_order import ZerothOrderPart
from heron.config import build_run, load_splits, recipe_config
from heron.config.build import client_shares
from heron.split.criterion import MeanLoss
from heron.split.descent import Descent
from heron.zo.cpu_tensors import OnCpuTensors

RESULT = Path(__file__).parent / "results" / "engine_work.json"
WARM_ROUNDS = 3
TURNS = 3

Work = dict[str, float]


def milliseconds(algorithm: str, rounds: int, directory: Path | None) -> Work:
    """Milliseconds per client and round by kind."""
    never = f"evaluation_period={rounds + WARM_ROUNDS + 1}"
    config = recipe_config("digits", algorithm, [f"rounds={rounds + WARM_ROUNDS + 1}", never])
    run = build_run(config, directory)
    clock, found = WorkClock(), []

    def observe(row: dict[str, Any]) -> None:
        if row["round"] > WARM_ROUNDS and "test_loss" not in row:
            found.append(clock.stop())
        clock.start()

    kernel = [("updates", OnCpuTensors, name) for name in ("add_directions_", "momentum_", "adam_")]
    losses = [("model", boundary, name) for name in ("linear_cross_entropy", "surrogate_loss")]
    parts = [("model", MeanLoss, "unguarded"), ("updates", Descent, "step"), ("updates", ZerothOrderPart, "learn")]
    with clock.watching(*parts, *kernel, *losses):
        clock.start()
        run.train(observe)
    return {kind: 1000 * statistics.median(row[kind] for row in found) / config.clients.total for kind in KINDS}


def pfl_milliseconds(interpreter: str, rounds: int) -> Work:
    """The same of pfl-research's loop, in another interpreter."""
    config = recipe_config("digits", "fedavg", [])
    splits = load_splits(config)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "clients.npz")
        inputs, labels = (tensor.numpy() for tensor in splits.train.tensors)  # type: ignore[attr-defined]
        arrays: dict[str, Any] = {"inputs": inputs, "labels": labels}
        arrays |= {f"share{number}": share for number, share in enumerate(client_shares(config, splits))}
        np.savez(data, **arrays)
        script = Path(__file__).with_name("engine_work_pfl.py")
        words = [interpreter, str(script), str(data), str(rounds), str(WARM_ROUNDS), str(config.client.batch_size)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"pfl-research did not run: {done.stderr.strip()[-2000:]}")
    work: Work = json.loads(done.stdout.splitlines()[-1])
    return work


def measure(rounds: int, pfl: str | None) -> dict[str, Work]:
    """One turn of everything."""
    found: dict[str, Work] = {}
    for algorithm in ("heron", "fedavg"):
        found[f"{algorithm}, in memory"] = milliseconds(algorithm, rounds, None)
        with tempfile.TemporaryDirectory() as folder:
            found[f"{algorithm}, run directory"] = milliseconds(algorithm, rounds, Path(folder) / "run")
    if pfl is not None:
        found["pfl-research, FederatedAveraging"] = pfl_milliseconds(pfl, rounds)
    return found


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--pfl", metavar="PYTHON", help="an interpreter with torch and pfl")
    options = parser.parse_args()
    turns = [measure(options.rounds, options.pfl) for _ in range(TURNS)]
    rows = {
        name: {kind: round(statistics.median(turn[name][kind] for turn in turns), 3) for kind in KINDS}
        for name in turns[0]
    }
    for name, work in rows.items():
        work["outside_model"] = round(work["updates"] + work["engine"], 3)
        print(f"{name:34}" + "".join(f"  {kind} {value:6.2f} ms" for kind, value in work.items()))
    result = {"hardware": describe(), "load_average": os.getloadavg()[0], "ms_per_client_and_round": rows}
    RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
