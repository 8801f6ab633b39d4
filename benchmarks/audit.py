"""Leakage of smashed data: algorithms, cuts and codecs on digits, and texts at the cuts of a language model.

    python benchmarks/audit.py [--seeds 0,1,2] [--runs FOLDER]
    python benchmarks/audit.py --texts [--runs FOLDER]

Every part is a call of `heron audit`; benchmarks/results/audit_digits.json and audit_texts.json have its rows and the
time that all of it took, training included: wall time, and that of all processors. Finished runs are kept below the
folder: the time is that of everything where it was empty.
"""

import argparse
import json
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hardware import describe

from heron.cli.audit import audit_command

RESULTS = Path(__file__).parent / "results"
# Of what is in common: recipe, algorithms, changes, and the values of one key.
Part = tuple[str, Sequence[str], Sequence[str], str]
DIGITS: list[Part] = [
    ("digits", ("heron", "cse_fsl", "frozen"), ("rounds=40", "split.cut=relu3"), "smashed.codec=fp32"),
    ("digits", ("heron",), ("rounds=40", "split.cut=relu3"), "smashed.codec=int4,dither6"),
    ("digits", ("heron", "cse_fsl", "frozen"), ("rounds=40", "split.cut=relu1"), "smashed.codec=fp32"),
]
TEXTS: list[Part] = [
    (
        "e2e-gpt2-mini",
        ("heron",),
        ("rounds=1", "client.local_steps=2", "data.train_limit=600", "split.auxiliary_blocks=1"),
        "split.cut=1,2,4",
    )
]
ATTACKS = ["decoder", "labels", "membership", "dependence"]


def main() -> None:
    """Audit, and save the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2", help="of digits; default 0,1,2")
    parser.add_argument("--texts", action="store_true", help="texts in place of digits")
    parser.add_argument("--runs", type=Path, default=Path("runs/audit"), help="default runs/audit")
    options = parser.parse_args()
    if options.texts:
        save("audit_texts", TEXTS, [0], ["tokens", "membership"], options.runs / "texts")
    else:
        seeds = [int(seed) for seed in options.seeds.split(",")]
        save("audit_digits", DIGITS, seeds, ATTACKS, options.runs / "digits")


def save(name: str, parts: list[Part], seeds: list[int], attacks: list[str], folder: Path) -> None:
    """Audit every part, and write the rows with the settings that they have in common."""
    started, rows = time.perf_counter(), []
    for number, (recipe, algorithms, changes, vary) in enumerate(parts):
        out = folder / f"{number}-{recipe}"
        audit_command([recipe], list(algorithms), seeds, list(changes), [vary], attacks, examples=256, out=out)
        content: dict[str, Any] = json.loads((out / "audit.json").read_text())
        rows += [{"recipe": recipe, "set": list(changes), **row} for row in content["rows"]]
    elapsed_s = round(time.perf_counter() - started, 1)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu_s = round(sum(each.ru_utime + each.ru_stime for each in used), 1)
    result = {"hardware": describe(), "seeds": seeds, "elapsed_s": elapsed_s, "cpu_s": cpu_s, "rows": rows}
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(f"{name}: {elapsed_s} s, {cpu_s} s of processors", flush=True)


if __name__ == "__main__":
    main()
