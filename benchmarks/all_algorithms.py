"""All algorithms on digits in one table, and the page that shows it.

    python benchmarks/all_algorithms.py [--rounds 80] [--seeds 0,1,2,3,4] [--folder FOLDER]

Runs `heron compare digits --algorithms all`, and the control of `ho_fl` whose bottom is frozen, into FOLDER (default
runs/all-algorithms; finished runs there are kept, so an interrupted command continues), saves
benchmarks/results/all_algorithms.json and writes the table into docs/results/algorithms.md between its marks.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from hardware import describe

from heron.cli.main import main as heron
from heron.files import write_atomically
from heron.report.units import bytes_text, flops_text

HERE = Path(__file__).parent
RESULT = HERE / "results" / "all_algorithms.json"
PAGE = HERE.parent / "docs" / "results" / "algorithms.md"
BEGIN, END = "<!-- table -->", "<!-- end of table -->"
CONTROL = "ho_fl, bottom frozen"


def compared(arguments: list[str], folder: Path) -> list[dict[str, Any]]:
    """Rows of a comparison, run as far as it is not there yet."""
    code = heron(["compare", "digits", *arguments, "--out", str(folder)])
    if code:
        raise SystemExit(code)
    return list(json.loads((folder / "comparison.json").read_text())["rows"])


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    lines = [
        "| algorithm | test accuracy % | client peak memory | client compute per step | uplink | downlink |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        cost, error = row["client_cost"], row["test_accuracy_standard_error"] or 0.0
        up, down = (int(sum(row[f"{way}_bytes_by_kind"].values())) for way in ("uplink", "downlink"))
        lines.append(
            f"| {row['name']} | {100 * row['test_accuracy']:.1f} ± {100 * error:.1f} | "
            f"{bytes_text(cost['peak_memory_bytes'])} | {flops_text(cost['flops_per_step'])} | "
            f"{bytes_text(up)} | {bytes_text(down)} |"
        )
    return "\n".join(lines)


def put_between(page: Path, content: str) -> None:
    """Put tables between the marks of their page."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(
            f"expected the marks {BEGIN} and {END} in {page}, found none; put them where the table belongs"
        )
    write_atomically(page, f"{before}{BEGIN}\n\n{content}\n\n{END}{after}".encode())


def main() -> None:
    """Compare, save, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=80, help="default 80, the recipe's")
    parser.add_argument("--seeds", default="0,1,2,3,4", help="default 0,1,2,3,4")
    parser.add_argument("--folder", type=Path, default=Path("runs/all-algorithms"), help="of the runs")
    options = parser.parse_args()
    common = ["--seeds", options.seeds, "--set", f"rounds={options.rounds}"]
    rows = compared(["--algorithms", "all", *common], options.folder / "all")
    frozen = ["--algorithms", "ho_fl", *common, "--set", "estimator.probes=0"]
    control = compared(frozen, options.folder / "bottom-frozen")
    named = [{"name": f"`{row['algorithm']}`", **row} for row in rows]
    place = [row["algorithm"] for row in rows].index("ho_fl") + 1
    named.insert(place, {"name": CONTROL, **control[0]})
    result = {"hardware": describe(), "rounds": options.rounds, "seeds": options.seeds, "rows": named}
    write_atomically(RESULT, (json.dumps(result, indent=1) + "\n").encode())
    put_between(PAGE, table(named))
    print(table(named))


if __name__ == "__main__":
    main()
