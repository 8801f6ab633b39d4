"""Refusals of a deployment: strangers, and a client that sends garbage; the other clients must not be affected.

    python benchmarks/flower_strangers.py [--drills strangers,hostile] [--lean 0] [--json FILE]

Real processes with TLS and node authentication on loopback. `strangers`: while three clients train, others connect: a
node whose key is not registered, one that trusts another authority than the server's, one without TLS, and a plain-text
HTTP request. `hostile`: one of three clients replies with NaN, with 3e38, with a hundred times the bytes it declares,
with the wrong type, to another round, and with garbage, one round each (`benchmarks/hostile/`). In both the run must be
that of the honest clients in one process, bit for bit. `--lean 1` makes client 0 one without PyTorch, `--lean 3` all,
the hostile one included. Needs Linux with `unshare`.
"""

import argparse
import json
import re
import shutil
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import torch
from flower_equality import rows_of
from flower_processes import ROOT, AppConfig, Deployment, deployment, enter_namespace
from hardware import describe
from hostile.hostile import REPLIES
from lean_nodes import LeanNodes
from safetensors.torch import load_file

from heron.config import recipe_config
from heron.deploy import DeploymentPlan, init_deployment

NUM_CLIENTS = 3
SETTINGS = f"threads=1 clients.total={NUM_CLIENTS}"
_TIMEOUT_S = 1800
_KNOCKING_S = 60.0
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_REFUSAL = re.compile(r"\[code: |CERTIFICATE|ApiError|Connection attempt failed")
_MAX_LETTERS = 110
_ACTIVE = "SuperNode ID"
_TLS_ALERT = 0x15
HOSTILE = NUM_CLIENTS - 1


def knock(parties: Deployment, folder: Path) -> dict[str, str]:
    """Answers to each stranger; raises SystemExit if one is admitted."""
    others = folder / "others"
    init_deployment(others, DeploymentPlan(NUM_CLIENTS, port=parties.port))
    here, there = parties.parties / "client-0", others / "client-0"
    authority = ["--root-certificates", str(here / "ca.crt")]
    key = ["--auth-supernode-private-key", str(there / "node.key")]
    strangers = {
        "unregistered key": [*authority, *key],
        "another authority's certificate": ["--root-certificates", str(there / "ca.crt"), *key],
        "no TLS": ["--insecure"],
    }
    for name, options in strangers.items():
        parties.start_supernode(name, [*options, "--node-config", "partition-id=0"])
    deadline = time.monotonic() + _KNOCKING_S
    while time.monotonic() < deadline and any(parties.is_running(name) for name in strangers):
        time.sleep(0.5)
    told = {}
    for name in strangers:
        lines = parties.end(name)
        if any(_ACTIVE in line for line in lines):
            raise SystemExit(f"{name}: let in")
        told[name] = reason(lines)
    return {**told, "plain-text request": plain_text(parties.port)}


def reason(lines: list[str]) -> str:
    """The first line of a log with the reason of a refusal."""
    plain = (_COLOUR.sub("", line).strip() for line in lines)
    return next((line[:_MAX_LETTERS] for line in plain if _REFUSAL.search(line)), "")


def plain_text(port: int) -> str:
    """The server's answer to a request without TLS."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"POST /heartbeat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        try:
            answer = connection.recv(1024)
        except OSError as error:
            return f"closed ({type(error).__name__})"
    if answer and answer[0] != _TLS_ALERT:
        raise SystemExit(f"a request without TLS was answered: {answer!r}")
    return "a TLS alert" if answer else "closed without an answer"


def app_config(rounds: int, out: Path) -> AppConfig:
    """Configuration of both drills."""
    return {"recipe": "digits", "algorithm": "heron", "rounds": rounds, "set": SETTINGS, "out": str(out)}


def nodes_of(folder: Path, rounds: int, lean: int) -> LeanNodes:
    """The first clients without PyTorch."""
    return LeanNodes(folder, recipe_config("digits", "heron", [*SETTINGS.split(), f"rounds={rounds}"]), range(lean))


def strangers(folder: Path, lean: int) -> dict[str, Any]:
    """Run three rounds while strangers try to connect."""
    expected, out = folder / "reference", folder / "out"
    nodes = nodes_of(folder, 3, lean)
    nodes.in_one_process(expected)
    told: dict[str, str] = {}
    with deployment(folder, NUM_CLIENTS, nodes.configs, nodes.paths) as parties:
        knocking = threading.Thread(target=lambda: told.update(knock(parties, folder)))
        knocking.start()
        log = parties.run(app_config(3, out), _TIMEOUT_S)
        knocking.join()
    joined = sum("client joined" in line for line in log.splitlines())
    return {
        "told": told,
        "server_says": reason((folder / "superlink.log").read_text().splitlines()),
        "joined": joined,
        "faults": [row["faults"] for row in rows_of(out) if "faults" in row],
        "same_parameters": same_parameters(out, expected),
        "refused": len(told) == 4 and all(told.values()) and joined == NUM_CLIENTS and "node left alone" not in log,
    }


def hostile(folder: Path, lean: int) -> dict[str, Any]:
    """Run one round for each kind of wrong message of a hostile client."""
    rounds = len(REPLIES)
    expected, out, app = folder / "reference", folder / "out", folder / "app"
    nodes = nodes_of(folder, rounds, lean)
    nodes.in_one_process(expected, [client for client in range(NUM_CLIENTS) if client != HOSTILE])
    make_app(app)
    configs = nodes.configs | {HOSTILE: f"{nodes.configs.get(HOSTILE, '')} hostile=1"}
    with deployment(folder, NUM_CLIENTS, configs, nodes.paths) as parties:
        parties.run({**app_config(rounds, out), "min_clients": NUM_CLIENTS - 1, "retries": 0}, _TIMEOUT_S, app)
    rows = rows_of(out)
    found = [row.get("faults") for row in rows]
    return {
        "faults": found,
        "replies": [row["clients"] for row in rows],
        "same_parameters": same_parameters(out, expected),
        "refused": found == [{fault: 1} for _, fault in REPLIES],
    }


def make_app(folder: Path) -> None:
    """A Flower app of heron's code with the hostile client app."""
    shutil.copytree(ROOT / "heron", folder / "heron", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "benchmarks" / "hostile" / "hostile.py", folder)
    shutil.copy(ROOT / "LICENSE", folder)
    text = (ROOT / "pyproject.toml").read_text()
    text = text.replace('clientapp = "heron.apps.client:app"', 'clientapp = "hostile:app"')
    text = text.replace('["heron/**/*.py", "/LICENSE"]', '["heron/**/*.py", "/hostile.py", "/LICENSE"]')
    (folder / "pyproject.toml").write_text(text)
    (folder / "README.md").write_text("An app for a drill.\n")


def same_parameters(found: Path, expected: Path) -> bool:
    """Return whether two runs ended with the same tensors."""
    one, other = (load_file(each / "checkpoint" / "state.safetensors") for each in (found, expected))
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


DRILLS = {"strangers": strangers, "hostile": hostile}


def main() -> None:
    """Drill, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drills", default=",".join(DRILLS), help="default: both")
    parser.add_argument("--lean", type=int, default=0, help="how many clients have no PyTorch; default 0")
    parser.add_argument("--json", type=Path, help="write the outcome here, with the hardware")
    options = parser.parse_args()
    enter_namespace()
    results = {}
    for name in options.drills.split(","):
        with tempfile.TemporaryDirectory() as folder:
            results[name] = DRILLS[name](Path(folder), options.lean)
        print(name, json.dumps(results[name], indent=1), flush=True)
    if options.json is not None:
        options.json.write_text(
            json.dumps({"hardware": describe(), "without_torch": options.lean, **results}, indent=1) + "\n"
        )
    if not all(result["refused"] and result["same_parameters"] for result in results.values()):
        sys.exit("somebody was let in, or the others noticed")


if __name__ == "__main__":
    main()
