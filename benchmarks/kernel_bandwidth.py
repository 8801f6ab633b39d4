"""Values per second of kernels (the automatic one, NumPy's, torch's), next to a plain axpy.

    python benchmarks/kernel_bandwidth.py [--quick]

67.7 M float32 entries, more than any cache holds. `axpy` is `torch.add(y, x, alpha=a, out=y)`, in place: 12 bytes per
entry; `axpy out of place` writes a third array: 12 bytes, and 4 more if the processor reads memory before writing it.
A probe reads theta and writes work (8 bytes), an update of SGD reads and writes theta and writes work (12), momentum
and Adam have 8 more for each moment. A replay of 64 steps is one pass; its rate counts pairs of a direction and an
entry. Figures are medians over repeats that rotate; ratios are taken within a repeat. Saves
benchmarks/results/kernel_bandwidth.json.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hardware import describe
from torch import nn

from heron.zo import SGD, Adam, FlatParameters, KernelName, Momentum, StepRecord, replay_

RESULT = Path(__file__).parent / "results" / "kernel_bandwidth.json"
NUM_ENTRIES = 67_700_032
REPLAYED = 64
SLOWER: tuple[KernelName, ...] = ("numpy", "torch")
BYTES = {"axpy": 12, "axpy out of place": 12, "probe": 8, "SGD": 12, "momentum": 20, "Adam": 28, "replay": 12}


def passes(flat: FlatParameters) -> dict[str, Callable[[], object]]:
    """Timed passes of one kernel."""
    records = [StepRecord((seed,), torch.full((1,), 1e-9)) for seed in range(REPLAYED)]
    runs: dict[str, Callable[[], object]] = {"probe": lambda: flat.perturb_(1, 1e-3)}
    for name, rule in (("SGD", SGD(1e-3)), ("momentum", Momentum(1e-3)), ("Adam", Adam(1e-3))):
        runs[name] = partial(rule.replay_, rule.init(flat.theta), flat, records[:1], "rademacher")
    runs["replay"] = lambda: replay_(SGD(1e-3), SGD(1e-3).init(flat.theta), flat, records)
    return runs


def measure(kernel: KernelName, num_threads: int, repeats: int) -> list[dict[str, Any]]:
    """Rows of a kernel and of axpy."""
    torch.set_num_threads(num_threads)
    x, y, z = (torch.full((NUM_ENTRIES,), 0.5) for _ in range(3))
    runs: dict[str, Callable[[], object]] = {
        "axpy": lambda: torch.add(y, x, alpha=1e-3, out=y),
        "axpy out of place": lambda: torch.add(y, x, alpha=1e-3, out=z),
        **passes(FlatParameters(nn.ParameterList([torch.zeros(NUM_ENTRIES)]), kernel=kernel)),
    }
    seconds = interleaved(runs, repeats)
    rows = []
    for name, spent in seconds.items():
        values = NUM_ENTRIES * (REPLAYED if name == "replay" else 1)
        ratios = [plain / one for plain, one in zip(seconds["axpy"], spent, strict=True)]
        row: dict[str, Any] = {
            "kernel": kernel,
            "threads": num_threads,
            "pass": name,
            "values_per_s": values / statistics.median(spent),
            "bytes_per_s": NUM_ENTRIES * BYTES[name] / statistics.median(spent),
            # Of one pass; the bytes that must move, not those that a cache moves besides.
            "bandwidth_over_axpy": statistics.median(ratios) * BYTES[name] / BYTES["axpy"],
            "values_over_axpy": statistics.median(ratios) * values / NUM_ENTRIES,
        }
        rows.append(row)
        print(
            f"| {kernel} | {num_threads} | {name} | {row['values_per_s'] / 1e6:,.0f} | {row['bytes_per_s'] / 1e9:.1f} "
            f"| {row['bandwidth_over_axpy']:.2f} | {row['values_over_axpy']:.2f} |",
            flush=True,
        )
    return rows


def interleaved(runs: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each run in each repeat, after one that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for repeat in range(-1, repeats):
        first = repeat % len(names)
        for name in names[first:] + names[:first]:
            started = time.perf_counter()
            runs[name]()
            if repeat >= 0:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--repeats", type=int, default=21, help="repeats of each pass; a quarter of it for NumPy's and torch's"
    )
    parser.add_argument("--quick", action="store_true", help="5 repeats of the automatic kernel, and nothing is saved")
    options = parser.parse_args()
    print("| kernel | threads | pass | M values/s | GB/s | bandwidth over axpy | values over axpy |")
    print("|---|---|---|---|---|---|---|")
    rows = []
    for num_threads in (1, 2):
        rows += measure("auto", num_threads, 5 if options.quick else options.repeats)
        if not options.quick:
            for kernel in SLOWER:
                rows += measure(kernel, num_threads, max(3, options.repeats // 4))
    if not options.quick:
        result = {"hardware": describe(), "num_entries": NUM_ENTRIES, "replayed_steps": REPLAYED, "rows": rows}
        RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
