"""Does a change keep every bit? Digests of the results of every algorithm on small settings.

    python benchmarks/digests.py [--only PART,PART] [--flower] [--out FILE] [--check FILE] [--keep FOLDER]

Each run gives four parts: `metrics` (the rows without `elapsed_s`, and the summary), `tensors` (of the checkpoint and
of the states of clients), `facts` (of the checkpoint, without the fingerprint of the configuration) and `cost` (the
counted part of the profile). Names and values of a part have a digest each, so that a renamed tensor can be told from
a changed one; the digest of values does not depend on names.

`--check FILE` compares with the digests of an earlier commit and exits 1 naming the runs that differ. `--only` takes
parts of names of runs. `--keep` keeps the run directories, to find out what differs. `--flower` adds a simulation in
Flower (needs Linux with `unshare`). Digests hold for one processor and one set of versions, those saved with them.
Tasks other than digits need `HERON_DATA`. Only the command line and the files of a run directory are used, so that the
script runs on any commit that has them: `PYTHONPATH=CHECKOUT python benchmarks/digests.py`. Saves
benchmarks/results/digests.json, unless only some runs or a check are asked for.
"""

import argparse
import contextlib
import hashlib
import io
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from digest_runs import DigestRun, all_runs
from hardware import describe
from safetensors import safe_open

import heron
from heron.cli.main import main as heron_command

Part = dict[str, bytes]
Digests = dict[str, dict[str, str]]
CHECKOUT = Path(heron.__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "digests.json"


class RunFailedError(Exception):
    """A run that did not end as it should."""


class Interrupting(io.StringIO):
    """A stream for progress that presses Ctrl-C after a round."""

    def write(self, text: str) -> int:
        """Keep the text, or interrupt."""
        if "round 2/3" in text:
            raise KeyboardInterrupt
        return super().write(text)


def call(words: list[str], errors: io.StringIO, expected: int = 0) -> None:
    """Call the command line in this process; it must end with an exit code."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        code = heron_command(words)
    if code != expected:
        raise RunFailedError(errors.getvalue().strip() or f"exit code {code}")


def train(run: DigestRun, out: Path) -> None:
    """Make the run directory of a run."""
    if run.is_simulation:
        simulate(run, out)
        return
    words = ["train", run.recipe, "--algorithm", run.algorithm, "--out", str(out)]
    words += [word for assignment in run.assignments for word in ("--set", assignment)]
    if run.is_resumed:
        call(words, Interrupting(), expected=130)
        words = ["train", "--resume", str(out)]
    call(words, io.StringIO())


def simulate(run: DigestRun, out: Path) -> None:
    """The run in Flower's simulation, of the checkout that `heron` comes from."""
    from flower_processes import simulate as run_apps

    settings = " ".join(run.assignments)
    config = {"recipe": run.recipe, "algorithm": run.algorithm, "set": settings, "out": str(out)}
    with tempfile.TemporaryDirectory() as folder:
        log, _ = run_apps(Path(folder), config, run.num_clients, 600)
    if not (out / "summary.json").exists():
        raise RunFailedError(f"Flower's simulation did not finish:\n{log}")


def flat(value: Any, name: str) -> Part:
    """Leaves of a JSON value by their paths."""
    if not isinstance(value, dict) or not value:
        return {name: json.dumps(value).encode()}
    return {path: leaf for key, inner in value.items() for path, leaf in flat(inner, f"{name}/{key}").items()}


def read(out: Path) -> dict[str, Part]:
    """What a run directory holds, by part."""
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    parts: dict[str, Part] = {"metrics": {}, "tensors": {}, "facts": {}, "cost": {}}
    for index, row in enumerate([*rows, json.loads((out / "summary.json").read_text())]):
        row.pop("elapsed_s")
        parts["metrics"] |= flat(row, str(index))
    folder = out / "checkpoint"
    for path in sorted(folder.rglob("*.safetensors")):
        with safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118 - no mapping
                array = file.get_tensor(name)
                about = f"{array.dtype} {array.shape} ".encode()
                parts["tensors"][f"{path.relative_to(folder)}: {name}"] = about + array.tobytes()
            for text in (file.metadata() or {}).values():
                facts = json.loads(text)["facts"]
                facts.pop("fingerprint", None)
                parts["facts"] |= flat(facts, path.name)
    cost = out / "cost.json"
    if cost.exists():
        for name, value in json.loads(cost.read_text()).items():
            if name in {"flops_per_step", "forwards_per_step", "smashed_bytes_per_step"}:
                parts["cost"][name] = json.dumps(value).encode()
    return parts


def digest(items: list[bytes]) -> str:
    """One digest of several, in the order that they come in."""
    return hashlib.blake2b(b"".join(hashlib.sha256(item).digest() for item in items), digest_size=8).hexdigest()


def digests(parts: dict[str, Part]) -> dict[str, str]:
    """Digests of names and values of every part."""
    found = {}
    for part, items in parts.items():
        found[f"{part}_names"] = digest(sorted(name.encode() for name in items))
        found[part] = digest(sorted(items.values()))
    return found


def differences(found: Digests, expected: Digests) -> list[str]:
    """A line for every run that differs, with the parts that do. Runs that were left out now do not count."""
    lines = []
    for name, parts in found.items():
        earlier = expected.get(name, {})
        changed = [part for part in parts if parts[part] != earlier.get(part)]
        if changed:
            lines.append(f"{name}: {', '.join(changed) if earlier else 'not in the file'}")
    return lines


def main() -> None:
    """Run, print, save, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="runs whose names hold one of these parts, apart by commas")
    parser.add_argument("--flower", action="store_true", help="the simulation in Flower, too")
    parser.add_argument("--check", type=Path, help="compare with this file")
    parser.add_argument("--out", type=Path, help="where to save; default benchmarks/results/digests.json")
    parser.add_argument("--keep", type=Path, help="keep the run directories in this folder")
    options = parser.parse_args()
    # Flower runs the apps of the checkout that `heron` comes from, whatever checkout this script is of.
    sys.path.insert(0, str(CHECKOUT / "benchmarks"))
    if options.flower:
        from flower_processes import enter_namespace

        enter_namespace()
    parts = options.only.split(",")
    runs = [run for run in all_runs() if options.flower or not run.is_simulation]
    runs = [run for run in runs if any(part in run.name for part in parts)]
    if not runs:
        raise SystemExit(f"expected parts of names of runs, such as digits/heron/plain, found {options.only!r} in none")
    print(f"{len(runs)} runs of {CHECKOUT}", flush=True)
    found: Digests = {}
    failed: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        for run in runs:
            started = time.perf_counter()
            try:
                train(run, folder / run.name)
            except RunFailedError as error:
                failed.append(f"{run.name} failed: {error}")
                print(failed[-1], flush=True)
                continue
            found[run.name] = digests(read(folder / run.name))
            values = " ".join(f"{part} {found[run.name][part]}" for part in ("metrics", "tensors"))
            print(f"{run.name:42} {values} {time.perf_counter() - started:5.1f} s", flush=True)
    lines = failed
    if options.out is not None or (options.check is None and not options.only):
        saved = {"hardware": describe(), "runs": found}
        (options.out or RESULT).write_text(json.dumps(saved, indent=2) + "\n")
    if options.check is not None:
        lines = failed + differences(found, json.loads(options.check.read_text())["runs"])
        print("\n".join(lines) or f"{len(found)} runs: every bit as in {options.check}")
    sys.exit(bool(lines))


if __name__ == "__main__":
    main()
