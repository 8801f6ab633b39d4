"""The benchmark of a GPU runs to its end: on a processor at toy size, and without CUDA it says why it does not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from heron.algorithms import ALGORITHMS

ROOT = Path(__file__).parents[1]
PARTS = ["kernels", "theta", "digits", "step_time", "gpt2_medium", "resnet18"]


def ran(*arguments: str, folder: Path) -> tuple[subprocess.CompletedProcess[str], dict]:
    out = folder / "gpu.json"
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), *arguments, "--out", str(out)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return done, json.loads(out.read_text())


@pytest.mark.slow
def test_every_part_runs_at_toy_size(tmp_path: Path) -> None:
    done, result = ran("--toy", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    parts = result["parts"]
    assert list(parts) == PARTS
    assert all("failed" not in part for part in parts.values())
    ran_kernels = [row for row in parts["kernels"]["rows"] if "skipped" not in row]
    assert ran_kernels
    assert all(row["same_bits_as_numpy"] for row in ran_kernels)
    assert all(row["same_bits_as_replay"] for row in parts["theta"]["rows"])
    assert parts["digits"]["wire_equals_reference"]
    assert all(row["step_over_two_forwards"] > 0.5 for row in parts["step_time"]["rows"])
    assert all(row["metered_peak_bytes"] == row["planned_peak_bytes"] for row in parts["gpt2_medium"]["rows"])
    images = parts["resnet18"]
    assert {row["algorithm"] for row in images["rows"]} == set(ALGORITHMS)
    assert all(len(row["test_accuracy"]) == 1 and "failed" not in row for row in images["rows"])
    assert images["precision"].keys() == {"tf32", "bf16", "channels_last"}


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_cuda_every_part_says_why_it_is_skipped(tmp_path: Path) -> None:
    done, result = ran(folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(result["parts"]) == PARTS
    assert all("expected a CUDA device, found none" in part["skipped"] for part in result["parts"].values())
