"""Time of a round and memory of a ClientApp on Flower: three nodes without PyTorch, an app that does nothing, PyTorch.

    python benchmarks/lean_flower.py [--rounds 20] [--torch-rounds 6] [--quick]

Real processes with TLS and node authentication on loopback. In the processes of the first three nodes PyTorch cannot be
imported. They run an empty Flower app (`benchmarks/empty/`) for half of the rounds, then digits with scalars, whose
digests of theta are compared in every round, then the empty app again; so what else the machine does weighs on both.
All tensors of the servers must be those of the same clients in one process, bit for bit. Then the same with three nodes
with PyTorch, for fewer rounds. A round's time is the mean over all but the first; memory is the largest resident memory
of a process of a ClientApp. Saves benchmarks/results/lean_flower.json. Needs Linux with `unshare`.
"""

import argparse
import json
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from flower_equality import rows_of
from flower_processes import ROOT, AppConfig, Deployment, deployment, enter_namespace
from hardware import describe
from lean_nodes import LeanNodes
from saboteur import is_client_app
from safetensors.torch import load_file

from heron.config import recipe_config

RESULT = Path(__file__).parent / "results" / "lean_flower.json"
NUM_CLIENTS = 3
SETTINGS = f"threads=1 clients.total={NUM_CLIENTS} update=scalars digest_period=1"
RATIO_GOAL, MEMORY_GOAL_MIB = 1.5, 150
_TIMEOUT_S = 3600
_POLL_S = 0.05
_EMPTY = ROOT / "benchmarks" / "empty"
_ASKED = "snapshot asked for"


@contextmanager
def client_app_peak(parties: Deployment) -> Iterator[dict[str, float]]:
    """Watch the processes of ClientApps; `mib` is the largest resident memory that one has had."""
    peak, over = {"mib": 0.0}, threading.Event()

    def watch() -> None:
        while not over.wait(_POLL_S):
            for client_id in range(parties.num_clients):
                for process in filter(is_client_app, parties.descendants(f"supernode{client_id}")):
                    peak["mib"] = max(peak["mib"], high_water_mib(process.pid))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def high_water_mib(pid: int) -> float:
    """Largest resident memory of a process so far, as the kernel counts it; 0 if the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def empty(parties: Deployment, rounds: int, out: Path) -> dict[str, Any]:
    """Run the empty app."""
    with client_app_peak(parties) as peak:
        parties.run({"rounds": rounds, "nodes": NUM_CLIENTS, "out": str(out)}, _TIMEOUT_S, _EMPTY)
    return {"round_s": per_round(json.loads(out.read_text())), "client_app_mib": round(peak["mib"], 1)}


def trained(parties: Deployment, rounds: int, out: Path) -> dict[str, Any]:
    """Run heron."""
    config: AppConfig = {"recipe": "digits", "algorithm": "heron", "rounds": rounds, "set": SETTINGS, "out": str(out)}
    with client_app_peak(parties) as peak:
        log = parties.run(config, _TIMEOUT_S)
    rows = rows_of(out)
    return {
        "rounds": len(rows),
        "round_s": per_round([row["elapsed_s"] for row in rows]),
        "client_app_mib": round(peak["mib"], 1),
        "snapshots_asked_for": log.count(_ASKED),
        "faults": [row["faults"] for row in rows if "faults" in row],
        "test_accuracy": rows[-1]["test_accuracy"],
    }


def per_round(ends: list[float]) -> float:
    """Mean time of a round but the first, in seconds."""
    return round((ends[-1] - ends[0]) / (len(ends) - 1), 2)


def lean(rounds: int, folder: Path) -> dict[str, Any]:
    """Measure nodes without PyTorch, between two halves of the empty app."""
    nodes = LeanNodes(
        folder, recipe_config("digits", "heron", [*SETTINGS.split(), f"rounds={rounds}"]), range(NUM_CLIENTS)
    )
    expected, found = folder / "reference", folder / "found"
    nodes.in_one_process(expected)
    with deployment(folder, NUM_CLIENTS, nodes.configs, nodes.paths) as parties:
        halves = [empty(parties, 1 + rounds // 2, folder / "before.json")]
        row = trained(parties, rounds, found)
        halves.append(empty(parties, 1 + rounds // 2, folder / "after.json"))
    one, other = (load_file(each / "checkpoint" / "state.safetensors") for each in (found, expected))
    nothing = {
        "round_s": round(sum(half["round_s"] for half in halves) / 2, 2),
        "halves_s": [half["round_s"] for half in halves],
        "client_app_mib": max(half["client_app_mib"] for half in halves),
    }
    same = one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    row["same_parameters_as_one_process"] = same
    return {"empty": nothing, "lean": row, "ratio": round(row["round_s"] / nothing["round_s"], 2)}


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="of nodes without PyTorch; default 20")
    parser.add_argument("--torch-rounds", type=int, default=6, help="of nodes with PyTorch; default 6, 0 for none")
    parser.add_argument("--quick", action="store_true", help="save nothing")
    options = parser.parse_args()
    enter_namespace()
    with tempfile.TemporaryDirectory() as folder:
        result = lean(options.rounds, Path(folder))
    if options.torch_rounds:
        with tempfile.TemporaryDirectory() as folder, deployment(Path(folder), NUM_CLIENTS) as parties:
            result["torch"] = trained(parties, options.torch_rounds, Path(folder) / "found")
    print(json.dumps(result, indent=1))
    found = result["lean"]
    print(
        f"a round takes {result['ratio']} times that of an empty app (goal {RATIO_GOAL}), a ClientApp "
        f"{found['client_app_mib']} MiB (goal {MEMORY_GOAL_MIB})"
    )
    if not options.quick:
        facts = {"hardware": describe(), "settings": SETTINGS, "clients": NUM_CLIENTS}
        RESULT.write_text(json.dumps(facts | result, indent=1) + "\n")
    if found["rounds"] != options.rounds or found["faults"] or found["snapshots_asked_for"]:
        raise SystemExit("a round was lost, or a client held another theta than the server")
    if not found["same_parameters_as_one_process"]:
        raise SystemExit("the deployment computes something else than one process")


if __name__ == "__main__":
    main()
