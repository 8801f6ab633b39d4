"""What a fresh install with the extra `train` can do, in an empty folder: `python -I smoke.py`."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

import heron
from heron.split import cut, linear_head
from heron.zo import SGD, FlatArrays, ZerothOrder

COMMAND = Path(sys.executable).with_name("heron")


def run(*words: str, code: int = 0) -> str:
    """Call the command; returns what it printed."""
    done = subprocess.run([COMMAND, *words], capture_output=True, text=True, check=False, timeout=600)
    output = done.stdout + done.stderr
    assert done.returncode == code, f"heron {' '.join(words)}: exit code {done.returncode}, expected {code}\n{output}"
    assert "Traceback" not in output, output
    return output


def rows(folder: Path) -> list[dict[str, float]]:
    """Rows of a run's metrics without what a clock says."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "elapsed_s"} for line in lines]


def command_line() -> None:
    """Train, resume, compare, report, measure and plan."""
    assert "digits" in run("recipes")
    assert "cse_fsl" in run("algorithms")
    run("train", "digits", "--set", "rounds=2", "--out", "whole")
    assert len(rows(Path("whole"))) == 2
    run("train", "--resume", "whole")
    run("compare", "digits", "--algorithms", "heron,frozen", "--set", "rounds=1", "--out", "both")
    run("report", "both")
    assert "<html" in Path("both/report.html").read_text(encoding="utf-8")
    assert "heron" in run("profile", "digits", "--algorithms", "heron")
    assert "exact" in run("plan", "digits", "--memory", "1MiB")


def missing_extras() -> None:
    """What needs an extra that is absent says which, in one line."""
    needing = {
        "transformers": "split-model gpt2 --cut 1 --out parts",
        "cryptography": "deploy init parties --clients 1",
    }
    for library, words in needing.items():
        if find_spec(library) is None:
            output = run(*words.split(), code=2)
            assert "pip install" in output, output
            assert len(output.splitlines()) == 1, output


def own_network() -> None:
    """Train a user's network and data, with the server and without."""
    torch.manual_seed(0)
    features = torch.randn(64, 4)
    labels = (features.sum(dim=1) > 0).long()
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    split = cut(network, after="1", example=features[:2], auxiliary=lambda shape: linear_head(shape, num_classes=2))
    data = TensorDataset(features, labels)
    result = heron.train(split, data, test=data, rounds=2, clients={"total": 2}, client={"batch_size": 16})
    assert 0.0 <= result.metrics[-1]["test_accuracy"] <= 1.0
    optimizer = ZerothOrder(network, rule=SGD(learning_rate=1e-2), seed=0)
    assert np.isfinite(float(optimizer.step(lambda: cross_entropy(network(features), labels))))


def without_torch() -> None:
    """The array core and messages import no torch."""
    code = "import sys, heron.zo, heron.wire, heron.client.round; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-I", "-c", code], check=True)
    assert FlatArrays is not None


def main() -> None:
    """Run everything, from an installed package."""
    here = Path(heron.__file__)
    assert Path.cwd() not in here.parents, f"{here} is not installed"
    os.environ.pop("PYTHONPATH", None)
    command_line()
    missing_extras()
    own_network()
    without_torch()
    print(f"heron-sfl {version('heron-sfl')} with torch {torch.__version__} on Python {sys.version.split()[0]}: works")


if __name__ == "__main__":
    main()
