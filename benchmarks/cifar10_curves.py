"""Learning curves of the paper's comparison on a small CIFAR-10 at the paper's cut, kept with the hardware.

    python benchmarks/cifar10_curves.py [RUN_FOLDER]

Runs `heron compare cifar10-resnet18-small` with SETTINGS (the paper's cut, HERON-SFL as published, ten rounds) for the
paper's algorithms, frozen and seeds 0, 1, 2 into the folder (default runs/cifar10-curves; finished runs there are kept,
so it can be interrupted), an hour of two cores. Saves the rows and every run's accuracy by round to
benchmarks/results/cifar10_curves.json, the figure to docs/figures/cifar10_curves.png. All rates are Adam 1e-3 on both
sides: none is tuned for an algorithm.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from hardware import describe

from heron.cli.main import main as heron
from heron.runs.run_directory import RunDirectory

HERE = Path(__file__).parent
RESULT = HERE / "results" / "cifar10_curves.json"
FIGURE = HERE.parent / "docs" / "figures" / "cifar10_curves.png"
# Those of the paper's comparison.
ALGORITHMS = ("heron", "cse_fsl", "fsl_sage", "sflv1", "sflv2", "fedavg", "frozen")
SEEDS = (0, 1, 2)
SETTINGS = (
    "rounds=10",
    "split.bottleneck_channels=0",
    "split.bottleneck_stride=1",
    "client.exact=0",
    "client.learning_rate=1e-3",
    "client.exact_learning_rate=0",
    "client.schedule=constant",
    "client.keep_state=true",
    "server.learning_rate=1e-3",
)
KEPT = ("round", "test_accuracy", "validation_accuracy", "train_loss", "uplink_bytes", "downlink_bytes")


def curve(run: RunDirectory) -> list[dict[str, Any]]:
    """Metrics of a run, round by round."""
    return [{key: row.get(key) for key in KEPT} for row in run.read_metrics()]


def main() -> None:
    """Compare, save."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/cifar10-curves")
    seeds = ",".join(map(str, SEEDS))
    names = ",".join(ALGORITHMS)
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    command = ["compare", "cifar10-resnet18-small", "--algorithms", names, "--seeds", seeds, *settings]
    code = heron([*command, "--out", str(folder)])
    if code:
        raise SystemExit(code)
    result = json.loads((folder / "comparison.json").read_text())
    curves = {name: [curve(RunDirectory(folder / name / f"seed{seed}")) for seed in SEEDS] for name in ALGORITHMS}
    RESULT.write_text(json.dumps({"hardware": describe(), **result, "curves": curves}, indent=1) + "\n")
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / "comparison.png", FIGURE)


if __name__ == "__main__":
    main()
