"""The comparison of `make demo`, its conditions checked and the result kept with the hardware.

    python benchmarks/digits.py [RUN_FOLDER]

Runs `heron compare digits --algorithms heron,cse_fsl,frozen --seeds 0,1,2,3,4` into the folder (default
runs/digits-compare;
finished runs there are kept) and saves benchmarks/results/digits.json.
"""

import json
import sys
from pathlib import Path

from hardware import describe

from heron.cli.main import main as heron

RESULT = Path(__file__).parent / "results" / "digits.json"


def main() -> None:
    """Compare, check the margin, save."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/digits-compare")
    code = heron(
        ["compare", "digits", "--algorithms", "heron,cse_fsl,frozen", "--seeds", "0,1,2,3,4", "--out", str(folder)]
    )
    if code:
        raise SystemExit(code)
    result = json.loads((folder / "comparison.json").read_text())
    accuracy = {row["algorithm"]: row["test_accuracy"] for row in result["rows"]}
    margin = 100 * (accuracy["heron"] - accuracy["frozen"])
    print(f"heron is {margin:.1f} points above frozen (asked for: 15)")
    RESULT.write_text(json.dumps({"hardware": describe(), "margin_points": margin, **result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
