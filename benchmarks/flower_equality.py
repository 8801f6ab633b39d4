"""Equality of the same run in one process, in Flower's simulation and in a deployment.

    python benchmarks/flower_equality.py [--engines simulation,deployment] [--algorithms heron,sflv2] [--local-steps 2]
        [--recipe digits] [--rounds 3] [--clients 3] [--set 'KEY=VALUE KEY=VALUE'] [--json FILE]

The deployment is a SuperLink and one SuperNode for each client, with TLS and node authentication, on loopback. The
checkpoint after the last round must be the same file, byte for byte (with masks: but for keys), and the metrics the
same but for `elapsed_s`.
A coupled round takes a message for every local step, which in a deployment is about ten seconds: `--local-steps 2`
keeps it short. Also shown are seconds per round and memory: for a deployment the largest resident memory by kind of
process, for a simulation that of all processes together. Needs Linux with `unshare`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from flower_processes import ROOT, deployment, enter_namespace, simulate
from hardware import describe

from heron.runs.checkpoint import load_checkpoint

_TIMEOUT_S = 1800
ENGINES = ("simulation", "deployment")


def in_process(out: Path, recipe: str, algorithm: str, rounds: int, settings: str) -> None:
    """The reference."""
    words = [word for assignment in settings.split() for word in ("--set", assignment)]
    command = [sys.executable, "-m", "heron.cli.main", "train", recipe, "--algorithm", algorithm, "--out", str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run([*command, "--set", f"rounds={rounds}", *words], check=True, capture_output=True, env=environment)


def rows_of(out: Path) -> list[dict[str, Any]]:
    """Metrics of a run."""
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def difference(found: Path, expected: Path) -> str:
    """Differences between two runs; empty if there are none."""
    compared = [
        [{key: value for key, value in row.items() if key != "elapsed_s"} for row in rows_of(out)]
        for out in (found, expected)
    ]
    if compared[0] != compared[1]:
        return f"metrics differ: {compared[0][-1:]} and {compared[1][-1:]}"
    name = Path("checkpoint") / "state.safetensors"
    if (found / name).read_bytes() == (expected / name).read_bytes():
        return ""
    tensors, facts = zip(*(_without_secrets(*load_checkpoint(out / name)) for out in (found, expected)), strict=True)
    same = tensors[0].keys() == tensors[1].keys() and all(map(torch.equal, tensors[0].values(), tensors[1].values()))
    return "" if same and facts[0] == facts[1] else "checkpoints differ"


def _without_secrets(tensors: dict[str, Any], facts: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What of a checkpoint does not depend on whose secrets were used: with masks, all but keys and names."""
    if not facts.keys() & {"run", "secret"}:
        return tensors, facts
    kept = {name: tensor for name, tensor in sorted(tensors.items()) if not name.startswith("mask_keys")}
    return kept, {key: value for key, value in facts.items() if key not in ("run", "secret", "secrets", "held")}


def measure(engine: str, algorithm: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run one algorithm in one engine and compare it with the reference."""
    settings = f"threads=1 clients.total={options.clients} client.local_steps={options.local_steps} {options.set}"
    expected, found = folder / "reference", folder / "found"
    in_process(expected, options.recipe, algorithm, options.rounds, settings)
    config = {
        "recipe": options.recipe,
        "algorithm": algorithm,
        "rounds": options.rounds,
        "set": settings,
        "out": str(found),
    }
    started = time.perf_counter()
    memory: dict[str, float] = {}
    if engine == "simulation":
        log, memory = simulate(folder, config, options.clients, _TIMEOUT_S)
    else:
        with deployment(folder, options.clients) as parties:
            log = parties.run(config, _TIMEOUT_S)
            memory = parties.peak_rss_mib
    if not (found / "summary.json").exists():
        raise SystemExit(f"{engine}, {algorithm}: the run did not finish\n{log}")
    times = [row["elapsed_s"] for row in rows_of(found)]
    return {
        "engine": engine,
        "algorithm": algorithm,
        "difference": difference(found, expected),
        "total_s": round(time.perf_counter() - started, 1),
        "clients": options.clients,
        "rounds": options.rounds,
        "settings": settings,
        "test_accuracy": rows_of(found)[-1].get("test_accuracy"),
        "first_round_s": times[0],
        "later_rounds_s": round((times[-1] - times[0]) / max(1, len(times) - 1), 2),
        "peak_mib": memory,
    }


def main() -> None:
    """Compare, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", default=",".join(ENGINES), help="default: both")
    parser.add_argument("--algorithms", default="heron,sflv2", help="default: one of each round protocol")
    parser.add_argument("--recipe", default="digits", help="default digits; its data must be at hand in HERON_DATA")
    parser.add_argument("--rounds", type=int, default=3, help="default 3")
    parser.add_argument("--clients", type=int, default=3, help="default 3")
    parser.add_argument("--local-steps", type=int, default=0, help="default 0: one pass over a client's data")
    parser.add_argument("--set", default="", help="further settings of the recipe, apart by blanks")
    parser.add_argument("--json", type=Path, help="write the figures here, with the hardware")
    options = parser.parse_args()
    enter_namespace()
    rows = []
    for engine in options.engines.split(","):
        for algorithm in options.algorithms.split(","):
            with tempfile.TemporaryDirectory() as folder:
                row = measure(engine, algorithm, options, Path(folder))
            verdict = row["difference"] or "bit for bit the in-process run"
            print(
                f"{engine:11} {algorithm:9} {verdict}; first round {row['first_round_s']} s, later ones "
                f"{row['later_rounds_s']} s each, {row['total_s']} s in all {row['peak_mib']}",
                flush=True,
            )
            rows.append(row)
    if options.json is not None:
        options.json.write_text(json.dumps({"hardware": describe(), "runs": rows}, indent=2) + "\n")
    if any(row["difference"] for row in rows):
        raise SystemExit("an engine computes something else")


if __name__ == "__main__":
    main()
