"""Survival of SIGKILL: a deployment whose processes are killed at random instants, and restarted.

    python benchmarks/flower_faults.py [--rounds 30] [--faults 10] [--clients 3] [--lean 0] [--private]
        [--masks [--between]] [--timeout 240] [--seed 0] [--json FILE]

A SuperLink and one SuperNode for each client, with TLS and node authentication, on loopback, under a restart loop. In
as many rounds as there are faults, drawn by the seed, something is killed some seconds after the round began: a
ClientApp at work, a SuperNode, or the SuperLink with its ServerApp, whose run is then resumed. The run must finish, and
every recorded round must stay unchanged; the global model is compared with that of an undisturbed run in one process.
`--lean 1` makes client 0 one without PyTorch, in whose processes it cannot be imported.

`--private` (a budget of epsilon, shown labels, noise on smashed data) and `--masks` (sums under masks), or both, are of
clients that keep no state, with secrets in files that outlive kills. No process knows all secrets but this script,
which afterwards trains the same clients with them undisturbed, and compares (`secret_nodes.py`). That proves of the
run: in each round either everybody is in the sum and the model is the exact one, bit for bit, or the round is counted
under `faults` as one whose sum cannot be told, and left the model as it was. What the nodes' own notes say was released
is what the undisturbed run releases, so noise was not drawn twice for a round, under another model or the same; every
release has one answer. The account has at least as many releases as the nodes' notes, in every recorded round and at
the end, and as many where nothing was charged twice; nobody exceeds what is planned, or the budget. It proves nothing
about servers that cheat: these are asked the same questions by tests (`tests/flower/test_node_secret.py`). `--between`
kills nodes after all values under masks have arrived and before they have told what takes the masks away: with three
clients that costs the round, with four the others tell enough.
Needs Linux with `unshare`.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from flower_equality import rows_of
from flower_processes import Deployment, deployment, enter_namespace
from hardware import describe
from lean_nodes import LeanNodes
from saboteur import APP, BETWEEN, NODE, SERVERS, Saboteur, lines_of
from safetensors.torch import load_file
from secret_nodes import SecretNodes

from heron.config import recipe_config

KINDS = (APP, NODE, APP, NODE, SERVERS)
KINDS_OF_SECRETS = (SERVERS, NODE, APP, SERVERS, NODE)
"""Where nodes have secrets: a resumed run asks again for what was released, in another run of Flower's."""
KINDS_OF_SUMS = (BETWEEN, SERVERS, BETWEEN)
"""Where a client is lost after its values have arrived, before it has told what takes the masks away."""
_TIMEOUT_S = 5400
_LATEST_S = 15.0
_LATEST_OF_MASKS_S = 40.0  # a round takes two messages: some kills come between them
_PRIVATE = "privacy.epsilon=8 privacy.label_epsilon=4 smashed.clip=2 smashed.noise=0.1"
_MASKS = "update=scalars seed_groups=1 secure_sum=true client.optimizer=sgd"
_SECRET = "client.keep_state=false client.local_steps=4"


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
    chosen = [_PRIVATE] * options.private + [_MASKS] * options.masks
    recipe = "digits-published" if chosen else "digits"
    settings = " ".join(["threads=1", f"clients.total={options.clients}", *[_SECRET][: len(chosen)], *chosen])
    expected, out = folder / "reference", folder / "out"
    words = [*settings.split(), f"rounds={options.rounds}"]
    nodes = LeanNodes(folder, recipe_config(recipe, "heron", words), range(options.lean))
    secrets = SecretNodes(folder / "secrets", nodes) if chosen else None
    if secrets is None:
        nodes.in_one_process(expected)
    config = {"recipe": recipe, "algorithm": "heron", "rounds": options.rounds, "set": settings, "out": str(out)}
    generator = random.Random(options.seed)
    rounds = sorted(generator.sample(range(1, options.rounds - 1), options.faults))
    started = time.monotonic()
    configs = nodes.configs if secrets is None else secrets.configs
    with deployment(folder, options.clients, configs, nodes.paths) as parties:
        parties.supervise()
        kinds = KINDS_OF_SUMS if options.between else KINDS_OF_SECRETS if chosen else KINDS
        latest_s = _LATEST_OF_MASKS_S if options.masks else _LATEST_S
        saboteur = Saboteur(parties, out, rounds, kinds, latest_s, generator)
        if secrets is not None:
            saboteur.has_covered = secrets.has_covered
        saboteur.start()
        resumed = finish(parties, {**config, "round_timeout_s": options.timeout, "retries": 5}, out)
    total_s, final = round(time.monotonic() - started, 1), lines_of(out)
    proofs = {"holds": {"same_parameters": same(out, expected)}} if secrets is None else secrets.proofs(out, expected)
    return {
        "rounds": options.rounds,
        "clients": options.clients,
        "without_torch": options.lean,
        **({"settings": f"{recipe} {settings}"} if chosen else {}),
        "seed": options.seed,
        "events": saboteur.events,
        "num_kills": len(saboteur.events),
        "resumed_runs": resumed,
        "rounds_recorded": len(final),
        "finished_rounds_kept": all(final[: len(lines)] == lines for lines in saboteur.recorded),
        "faults": [row["faults"] for row in rows_of(out) if "faults" in row],
        "test_accuracy": rows_of(out)[-1]["test_accuracy"],
        "undisturbed_test_accuracy": rows_of(expected)[-1]["test_accuracy"],
        **proofs,
        "total_s": total_s,
        "peak_rss_mib": parties.peak_rss_mib,
    }


def same(out: Path, expected: Path) -> bool:
    """Return whether two runs end with the same state, bit for bit."""
    found, reference = (load_file(each / "checkpoint" / "state.safetensors") for each in (out, expected))
    return found.keys() == reference.keys() and all(torch.equal(found[name], reference[name]) for name in reference)


def main() -> None:
    """Drill, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="default 30")
    parser.add_argument("--faults", type=int, default=10, help="default 10, fewer than rounds - 1")
    parser.add_argument("--clients", type=int, default=3, help="default 3")
    parser.add_argument("--lean", type=int, default=0, help="how many of them have no PyTorch; default 0")
    parser.add_argument("--private", action="store_true", help="with differential privacy and shown labels")
    parser.add_argument("--masks", action="store_true", help="with sums under masks, of three clients or more")
    parser.add_argument("--between", action="store_true", help="with masks: nodes are killed between two messages")
    parser.add_argument("--timeout", type=float, default=240.0, help="seconds of a round's deadline; default 240")
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
    broken = [name for name, holds in result["holds"].items() if not holds]
    if broken:
        sys.exit(f"compared with the undisturbed run these do not hold: {', '.join(broken)}")


if __name__ == "__main__":
    main()
