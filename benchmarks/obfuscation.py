"""Accuracy with labels of randomised response, and with noise on smashed data, on digits.

    python benchmarks/obfuscation.py [--seeds 0,1,2]

The recipe `digits` with its own rates, 80 rounds, heron. Labels: the client learns from and uploads labels that are
drawn once for each example. Noise: smashed data scaled down to norm 2, noise drawn once for each example; epsilon of a
single upload is saved beside, and claims nothing. The test split is read once, after the last round. Arms that are in
the result already are kept.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from hardware import describe

from heron.analysis import standard_error
from heron.config import build_run, recipe_config

RESULT = Path(__file__).parent / "results" / "obfuscation.json"
ARMS = {
    "as they are": (),
    **{f"label epsilon {epsilon}": (f"privacy.label_epsilon={epsilon}",) for epsilon in (4, 3, 2)},
    **{f"noise {noise} at norm 2": ("smashed.clip=2", f"smashed.noise={noise}") for noise in (0.03, 0.1, 0.3)},
}


def row_of(name: str, changes: tuple[str, ...], seeds: list[int]) -> dict[str, Any]:
    """Run an arm on all seeds."""
    accuracies, told = [], {}
    for seed in seeds:
        config = recipe_config("digits", "heron", [*changes, f"seed={seed}", "evaluation_period=80"])
        run = build_run(config, None)
        accuracies.append(run.train()[-1]["test_accuracy"])
        told = run.federation.servers.exposure
    return {
        "arm": name,
        "settings": changes,
        "test_accuracies": accuracies,
        "test_accuracy": statistics.fmean(accuracies),
        "standard_error": standard_error(accuracies),
        "exposure": told,
    }


def main() -> None:
    """Run every arm, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2", help="default 0,1,2")
    seeds = [int(seed) for seed in parser.parse_args().seeds.split(",")]
    saved = json.loads(RESULT.read_text()) if RESULT.is_file() else {"seeds": []}
    done = {row["arm"]: row for row in saved["rows"]} if saved["seeds"] == seeds else {}
    rows = []
    for name, changes in ARMS.items():
        rows.append(done.get(name) or row_of(name, changes, seeds))
        error = rows[-1]["standard_error"] or 0.0
        print(f"{name:24} {100 * rows[-1]['test_accuracy']:.1f} +- {100 * error:.1f}", flush=True)
        RESULT.write_text(json.dumps({"hardware": describe(), "seeds": seeds, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
