"""Comparison of `make demo`, with its conditions checked and the result saved with the hardware.

    python benchmarks/digits.py [RECIPE [RUN_FOLDER]]

Runs `heron compare RECIPE --algorithms heron,cse_fsl,frozen --seeds 0,1,2,3,4` into the folder (default
runs/RECIPE-compare; finished runs there are kept). RECIPE is `digits` (the default and the demo's recipe; saves
benchmarks/results/digits.json) or `digits-published` (HERON-SFL as published; digits_published.json there).
"""

import json
import sys
from pathlib import Path

from hardware import describe

from heron.cli.main import main as heron

RESULTS = Path(__file__).parent / "results"
RECIPES = ("digits", "digits-published")


def main() -> None:
    """Compare, check the margin, save."""
    recipe = sys.argv[1] if len(sys.argv) > 1 else RECIPES[0]
    if recipe not in RECIPES:
        raise SystemExit(f"expected one of {', '.join(RECIPES)}, found {recipe}")
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else f"runs/{recipe}-compare")
    code = heron(
        ["compare", recipe, "--algorithms", "heron,cse_fsl,frozen", "--seeds", "0,1,2,3,4", "--out", str(folder)]
    )
    if code:
        raise SystemExit(code)
    result = json.loads((folder / "comparison.json").read_text())
    accuracy = {row["algorithm"]: row["test_accuracy"] for row in result["rows"]}
    margin = 100 * (accuracy["heron"] - accuracy["frozen"])
    print(f"heron is {margin:.1f} points above frozen (asked for: 15)")
    result = {"hardware": describe(), "margin_points": margin, **result}
    (RESULTS / f"{recipe.replace('-', '_')}.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
