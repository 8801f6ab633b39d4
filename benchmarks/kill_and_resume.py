"""Kill a training run with SIGKILL at random instants, resume it, and compare with the undisturbed run.

    python benchmarks/kill_and_resume.py [--instants 20] [--seed 0] [--json FILE]

Every killed run must end with the same metrics (but for `elapsed_s`) and the same checkpoint, byte for byte.
Instants are drawn over the whole life of the process, including its start and the time before the first checkpoint; a
run killed before it has written its configuration is started again.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hardware import describe

HERON = (sys.executable, "-m", "heron.cli.main")
RECIPE = ("digits-published", "--set", "rounds=40")


def train(directory: Path, kill_after_s: float | None = None) -> bool:
    """Start or resume the run; kill it after a while. Returns whether it ended by itself."""
    command = [*HERON, "train"]
    started = (directory / "config.toml").exists()
    command += ["--resume", str(directory)] if started else [*RECIPE, "--out", str(directory)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _, errors = process.communicate(timeout=kill_after_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return False
    if process.returncode != 0:
        raise SystemExit(f"the run failed: {errors.decode()}")
    return True


def result(directory: Path) -> tuple[list[dict[str, Any]], bytes]:
    """Metrics without times, and the checkpoint."""
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        del row["elapsed_s"]
    return rows, (directory / "checkpoint" / "state.safetensors").read_bytes()


def main() -> None:
    """Kill, resume, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instants", type=int, default=20, help="number of kills; default 20")
    parser.add_argument("--seed", type=int, default=0, help="seed of the instants")
    parser.add_argument("--json", type=Path, help="write the counts here, with the hardware")
    options = parser.parse_args()
    instants = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        train(Path(folder) / "undisturbed")
        life_s = time.perf_counter() - started
        expected = result(Path(folder) / "undisturbed")
        early = killed = attempts = 0
        while killed < options.instants:
            directory = Path(folder) / f"run{attempts}"
            # One kill in four falls into the start of the process, the others into the rounds.
            share = instants.uniform(0.1, 0.5) if attempts % 4 == 0 else instants.uniform(0.5, 0.95)
            attempts += 1
            if train(directory, share * life_s):
                continue  # it was faster than the instant: draw again
            killed += 1
            early += not (directory / "checkpoint" / "state.safetensors").exists()
            train(directory)
            if result(directory) != expected:
                raise SystemExit(f"kill {killed}: the resumed run differs from the undisturbed one")
    print(f"{killed} kills, {early} before the first checkpoint: all results equal")
    if options.json is not None:
        counts = {"kills": killed, "before_first_checkpoint": early, "all_results_equal": True}
        options.json.write_text(json.dumps({"hardware": describe(), **counts}, indent=2) + "\n")


if __name__ == "__main__":
    main()
