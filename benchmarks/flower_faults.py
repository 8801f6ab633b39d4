"""Survival of SIGKILL: a deployment whose processes are killed at random instants, and restarted.

    python benchmarks/flower_faults.py [--rounds 30] [--faults 10] [--clients 3] [--lean 0] [--seed 0] [--json FILE]

A SuperLink and one SuperNode for each client, with TLS and node authentication, on loopback, under a restart loop. In
as many rounds as there are faults, drawn by the seed, something is killed some seconds after the round began: a
ClientApp at work, a SuperNode, or the SuperLink with its ServerApp, whose run is then resumed. The run must finish, and
every recorded round must stay unchanged; the global model is compared with that of an undisturbed run in one process.
`--lean 1` makes client 0 one without PyTorch, in whose processes it cannot be imported.
Needs Linux with `unshare`.
"""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import torch
from flower_equality import rows_of
from flower_processes import Deployment, deployment, enter_namespace
from hardware import describe
from lean_nodes import LeanNodes
from safetensors.torch import load_file

from heron.config import recipe_config

SERVERS = "SuperLink and ServerApp"
KINDS = ("ClientApp", "SuperNode", "ClientApp", "SuperNode", SERVERS)
_TIMEOUT_S = 5400
_POLL_S = 0.2
_LATEST_S = 15.0


class Saboteur(threading.Thread):
    """Kills one thing after another, each once a certain round has been recorded.

    Args:
        parties: whose processes.
        out: the run directory.
        rounds: after which to kill, ascending.
        generator: chooses what, whose and when.

    Attributes:
        events: what was done.
        recorded: lines of the metrics at each kill.
    """

    def __init__(self, parties: Deployment, out: Path, rounds: list[int], generator: random.Random) -> None:
        super().__init__(daemon=True)
        self.events: list[dict[str, Any]] = []
        self.recorded: list[list[str]] = []
        self._parties, self._out, self._rounds, self._generator = parties, out, rounds, generator
        self._beginning = time.monotonic()

    def run(self) -> None:
        """Until all is done."""
        kinds = [KINDS[number % len(KINDS)] for number in range(len(self._rounds))]
        self._generator.shuffle(kinds)
        for number, kind in zip(self._rounds, kinds, strict=True):
            while len(lines_of(self._out)) < number:
                time.sleep(_POLL_S)
            time.sleep(self._generator.uniform(0, _LATEST_S))
            self.recorded.append(lines_of(self._out))
            killed = self._kill(kind)
            event = {"killed": killed, "after_round": number, "at_s": round(time.monotonic() - self._beginning, 1)}
            self.events.append(event)
            print(f"{event['at_s']:7.1f} s, {number} rounds recorded: SIGKILL of {killed}", flush=True)

    def _kill(self, kind: str) -> str:
        client_id = self._generator.randrange(self._parties.num_clients)
        if kind == "SuperNode":
            self._parties.kill(f"supernode{client_id}")
        elif kind == "ClientApp":
            self._kill_app(f"supernode{client_id}")
        else:
            apps = self._parties.descendants("superlink")
            self._parties.kill("superlink")
            for process in apps:
                end(process)
            return kind
        return f"{kind} {client_id}"

    def _kill_app(self, node: str) -> None:
        """The next app that this node starts, if it has none now."""
        while True:
            apps = [process for process in self._parties.descendants(node) if is_client_app(process)]
            if apps:
                end(apps[0])
                return
            time.sleep(_POLL_S)


def is_client_app(process: psutil.Process) -> bool:
    """Return whether a process is a working app, not the process that starts them."""
    try:
        return any("flwr-clientapp" in word for word in process.cmdline())
    except psutil.Error:
        return False


def end(process: psutil.Process) -> None:
    """SIGKILL, unless it has ended."""
    try:
        process.kill()
    except psutil.Error:
        return


def lines_of(out: Path) -> list[str]:
    """Rounds recorded so far, a line each."""
    path = out / "metrics.jsonl"
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")] if path.exists() else []


def finish(parties: Deployment, config: dict[str, str | int | float], out: Path) -> int:
    """Run, and resume until the run is complete; returns how often it was resumed."""
    deadline, resumed = time.monotonic() + _TIMEOUT_S, -1
    patience = {key: value for key, value in config.items() if key in ("round_timeout_s", "retries")}
    while not (out / "summary.json").exists():
        if time.monotonic() > deadline:
            raise SystemExit(f"the run did not finish within {_TIMEOUT_S} s")
        parties.wait_for_superlink()
        resumed += 1
        try:
            parties.run({**patience, "resume": str(out)} if lines_of(out) else config, _TIMEOUT_S)
        except SystemExit as stopped:
            print(f"the run stopped: {str(stopped).splitlines()[-1]}", flush=True)
            time.sleep(2)
    return resumed


def drill(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Both runs, and what they have in common."""
    settings = f"threads=1 clients.total={options.clients}"
    expected, out = folder / "reference", folder / "out"
    nodes = LeanNodes(
        folder, recipe_config("digits", "heron", [*settings.split(), f"rounds={options.rounds}"]), range(options.lean)
    )
    nodes.in_one_process(expected)
    config = {"recipe": "digits", "algorithm": "heron", "rounds": options.rounds, "set": settings, "out": str(out)}
    generator = random.Random(options.seed)
    rounds = sorted(generator.sample(range(1, options.rounds - 1), options.faults))
    started = time.monotonic()
    with deployment(folder, options.clients, nodes.configs, nodes.paths) as parties:
        parties.supervise()
        saboteur = Saboteur(parties, out, rounds, generator)
        saboteur.start()
        resumed = finish(parties, {**config, "round_timeout_s": 240.0, "retries": 5}, out)
    final = lines_of(out)
    found, reference = (load_file(each / "checkpoint" / "state.safetensors") for each in (out, expected))
    same = found.keys() == reference.keys() and all(torch.equal(found[name], reference[name]) for name in reference)
    return {
        "rounds": options.rounds,
        "clients": options.clients,
        "without_torch": options.lean,
        "seed": options.seed,
        "events": saboteur.events,
        "num_kills": len(saboteur.events),
        "resumed_runs": resumed,
        "rounds_recorded": len(final),
        "finished_rounds_kept": all(final[: len(lines)] == lines for lines in saboteur.recorded),
        "faults": [row["faults"] for row in rows_of(out) if "faults" in row],
        "test_accuracy": rows_of(out)[-1]["test_accuracy"],
        "undisturbed_test_accuracy": rows_of(expected)[-1]["test_accuracy"],
        "same_parameters_as_undisturbed": same,
        "total_s": round(time.monotonic() - started, 1),
        "peak_rss_mib": parties.peak_rss_mib,
    }


def main() -> None:
    """Drill, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="default 30")
    parser.add_argument("--faults", type=int, default=10, help="default 10, fewer than rounds - 1")
    parser.add_argument("--clients", type=int, default=3, help="default 3")
    parser.add_argument("--lean", type=int, default=0, help="how many of them have no PyTorch; default 0")
    parser.add_argument("--seed", type=int, default=0, help="chooses rounds, kinds and instants; default 0")
    parser.add_argument("--json", type=Path, help="write the figures here, with the hardware")
    options = parser.parse_args()
    enter_namespace()
    with tempfile.TemporaryDirectory() as folder:
        result = drill(options, Path(folder))
    print(json.dumps({key: value for key, value in result.items() if key != "events"}, indent=1))
    if options.json is not None:
        options.json.write_text(json.dumps({"hardware": describe(), **result}, indent=1) + "\n")
    whole = result["rounds_recorded"] == options.rounds and result["num_kills"] == options.faults
    restarts = sum(event["killed"] == SERVERS for event in result["events"])
    if not (whole and result["finished_rounds_kept"] and result["resumed_runs"] == restarts):
        sys.exit("a round was lost, not everything was killed, or the run ended without that")
    if not result["same_parameters_as_undisturbed"]:
        sys.exit("the global model is another one than that of the undisturbed run")


if __name__ == "__main__":
    main()
