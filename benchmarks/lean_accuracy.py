"""Accuracy of clients without PyTorch against clients with it, seed by seed.

    python benchmarks/lean_accuracy.py [RECIPE,RECIPE] [--folder FOLDER]

Runs `heron compare RECIPE --algorithms heron --vary client.runtime=torch,onnx` over the seeds of the table below into
FOLDER (default runs/lean-accuracy; finished runs there are kept) and pairs the final test accuracies by seed. The two
runtimes differ by float32 rounding, so a run differs by as much as noise; a difference that is no noise would show in
its mean. Saves benchmarks/results/lean_accuracy.json after every recipe.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from hardware import describe

from heron.cli.main import main as heron
from heron.files import write_atomically

RESULT = Path(__file__).parent / "results" / "lean_accuracy.json"
SEEDS = {"digits": 10, "digits-published": 10, "cifar10-resnet18-small": 3}
RUNTIMES = ("torch", "onnx")


def main() -> None:
    """Compare, pair, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="?", default=",".join(SEEDS), help="comma-separated; default all")
    parser.add_argument("--folder", type=Path, default=Path("runs/lean-accuracy"), help="of the runs")
    options = parser.parse_args()
    rows = json.loads(RESULT.read_text())["rows"] if RESULT.exists() else []
    for recipe in options.recipes.split(","):
        found = paired(accuracies(recipe, options.folder / recipe))
        print(
            f"{recipe}: onnx - torch {found['difference_points']:+.2f} +- {found['standard_error_points']:.2f} points"
        )
        rows = [row for row in rows if row["recipe"] != recipe] + [{"recipe": recipe, **found}]
        content = json.dumps({"hardware": describe(), "rows": rows}, indent=1) + "\n"
        write_atomically(RESULT, content.encode())


def accuracies(recipe: str, folder: Path) -> dict[str, list[float]]:
    """Final test accuracy in percent of every seed, by runtime."""
    seeds = range(SEEDS[recipe])
    runs = ["compare", recipe, "--algorithms", "heron", "--seeds", ",".join(map(str, seeds)), "--out", str(folder)]
    code = heron([*runs, "--vary", f"client.runtime={','.join(RUNTIMES)}"])
    if code:
        raise SystemExit(code)
    found: dict[str, dict[int, float]] = {runtime: {} for runtime in RUNTIMES}
    for path in folder.rglob("summary.json"):
        config = (path.parent / "config.toml").read_text()
        (runtime,) = (name for name in RUNTIMES if f'runtime = "{name}"' in config)
        summary = json.loads(path.read_text())
        seed = next(int(line.split("=")[1]) for line in config.splitlines() if line.startswith("seed ="))
        found[runtime][seed] = 100 * summary["test_accuracy"]
    return {runtime: [by_seed[seed] for seed in seeds] for runtime, by_seed in found.items()}


def paired(found: dict[str, list[float]]) -> dict[str, Any]:
    """Mean of the paired differences and its standard error, with the accuracies of every seed."""
    differences = [lean - whole for whole, lean in zip(found["torch"], found["onnx"], strict=True)]
    mean = statistics.mean(differences)
    error = statistics.stdev(differences) / len(differences) ** 0.5
    return {
        "seeds": len(differences),
        "difference_points": mean,
        "standard_error_points": error,
        "within_two_errors": abs(mean) <= 2 * error,
        **found,
    }


if __name__ == "__main__":
    main()
