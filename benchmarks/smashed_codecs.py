"""Codecs of smashed data: bytes, error and rate on real uploads.

    python benchmarks/smashed_codecs.py [--quick]

Smashed data of one batch after a few rounds of training: digits, CIFAR-10 at the narrow and the wide cut, as it is and
behind a ReLU, and tokens of a language model. Bytes of an upload's smashed data over those of float32; root mean square
error over the standard deviation; time to pack and to unpack over the time to copy the float32, medians of one run on
one thread. Needs the data (`HERON_DATA`). Saves benchmarks/results/smashed_codecs.json.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hardware import describe
from torch import Tensor

from heron.config import build_run, recipe_config
from heron.runs.run_directory import write_json
from heron.tensors import as_tensor
from heron.wire import CODECS, Codec, pack_tensor, unpack_tensor

RESULTS = Path(__file__).parent / "results" / "smashed_codecs.json"
WIDE = ("split.bottleneck_channels=0", "split.bottleneck_stride=1")
CIFAR10 = ("data.train_limit=1000", "data.test_limit=100")
# Name, recipe, changes, rounds of training before.
CASES = (
    ("digits, after ReLU", "digits", (), 5),
    ("CIFAR-10 narrow", "cifar10-resnet18-small", CIFAR10, 2),
    ("CIFAR-10 wide", "cifar10-resnet18-small", (*CIFAR10, *WIDE), 2),
    ("gpt2-mini tokens", "e2e-gpt2-mini", ("data.train_limit=200", "data.test_limit=10"), 1),
)


def smashed_data(recipe: str, changes: tuple[str, ...], rounds: int) -> Tensor:
    """Smashed data of the first client's first batch after some rounds."""
    settings = ["threads=1", f"rounds={max(rounds, 1)}", "evaluation_period=1000", *changes]
    federation = build_run(recipe_config(recipe, "heron", settings), None).federation
    for _ in range(rounds):
        federation.run_round()
    federation.load_global_model()
    federation.split.train()
    data = federation.clients.data(0)
    first = np.arange(min(federation.settings.client.batch_size, len(data)))
    return as_tensor(federation.runtime.smash(data.batch(first, seed=0), 0))


def cases(*, quick: bool) -> Iterator[tuple[str, Tensor]]:
    """Every smashed data set by name; maps before a ReLU also behind one."""
    for name, recipe, changes, rounds in CASES:
        if quick and recipe != "digits":
            yield name, torch.randn(64, 4, 8, 8, generator=torch.Generator().manual_seed(0))
            continue
        smashed = smashed_data(recipe, changes, rounds)
        yield name, smashed
        if name.startswith("CIFAR"):
            yield f"{name}, after ReLU", smashed.relu()


def seconds(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median time of each, taken in turns so that all see the same machine."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - started)
    return {name: statistics.median(each) for name, each in times.items()}


def measure(smashed: Tensor, codec: Codec, zstd: bool, repeats: int) -> dict[str, Any]:
    """One row."""
    packed = pack_tensor(smashed, codec, 1, zstd=zstd)
    error = as_tensor(unpack_tensor(packed)) - smashed
    spent = seconds(
        {
            "copy": smashed.clone,
            "pack": lambda: pack_tensor(smashed, codec, 1, zstd=zstd),
            "unpack": lambda: unpack_tensor(packed),
        },
        repeats,
    )
    num_bytes = sum(tensor.nbytes for tensor in packed.values())
    return {
        "codec": codec,
        "zstd": zstd,
        "bytes": num_bytes,
        "float32_over_bytes": smashed.nbytes / num_bytes,
        "rms_error_over_deviation": float(error.square().mean().sqrt() / smashed.std()),
        "pack_mb_per_s": smashed.nbytes / spent["pack"] / 1e6,
        "unpack_mb_per_s": smashed.nbytes / spent["unpack"] / 1e6,
        "copy_mb_per_s": smashed.nbytes / spent["copy"] / 1e6,
        "pack_over_copy": spent["pack"] / spent["copy"],
        "unpack_over_copy": spent["unpack"] / spent["copy"],
    }


def main() -> None:
    """Measure, print a table, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="digits and made-up maps only; saves nothing")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    results = []
    for name, smashed in cases(quick=quick):
        zeros = float((smashed == 0).float().mean())
        print(f"\n{name}: {tuple(smashed.shape)}, {smashed.nbytes:,} bytes of float32, {zeros:.0%} zeros")
        print("codec         smaller   error/deviation   pack MB/s   unpack MB/s   copy MB/s")
        rows = [measure(smashed, codec, zstd, 5 if quick else 30) for codec in CODECS for zstd in (False, True)]
        for row in rows:
            label = row["codec"] + " + zstd" * row["zstd"]
            print(
                f"{label:12} {row['float32_over_bytes']:8.2f} {row['rms_error_over_deviation']:17.5f} "
                f"{row['pack_mb_per_s']:11.0f} {row['unpack_mb_per_s']:13.0f} {row['copy_mb_per_s']:11.0f}"
            )
        results.append({"name": name, "shape": list(smashed.shape), "zeros": zeros, "rows": rows})
    if not quick:
        write_json(RESULTS, {"hardware": describe(), "cases": results})


if __name__ == "__main__":
    main()
