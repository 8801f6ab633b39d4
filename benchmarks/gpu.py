"""Measure heron on one GPU in a few minutes, and save after every part, and after every step of the long ones.

    python benchmarks/gpu.py --minutes 8 [--out FILE] [--only PART,...]
    python benchmarks/gpu.py --toy

Parts, in this order: the first four take seconds each and answer a question whole, the last one takes what time is left
and is worth something at any epoch.

    kernels       every kernel of the device against NumPy's on the processor: the same bits, and its bandwidth
    theta         a client's steps on the device, replayed on the processor from their scalars: the same bits
    digits        the recipe `digits` on the device, reference and encoded messages: the same bits, and its accuracy
    step_time     a zeroth-order step over two forwards, of the clients of ResNet-18 and GPT2-Medium
    gpt2_medium   client memory of GPT2-Medium from the allocator's own peak, against the plan, and the time of a step
    resnet18      ResNet-18 on CIFAR-10 at full size, batch 256, every algorithm: test accuracy by epoch

Without CUDA every part is skipped with the reason, unless `--toy` runs them on the processor with small networks and
synthetic images, to show that they run to the end. A part that fails is saved with its error, and the next begins.
Saves benchmarks/results/gpu.json, with `--toy` gpu_toy.json in the working folder.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from gpu_network import gpt2_medium, resnet18
from gpu_parts import Part, Setting, digits, kernels, step_time, theta
from hardware import describe

from heron.runs.run_directory import write_json

RESULT = Path(__file__).parent / "results" / "gpu.json"
PARTS: dict[str, Part] = {
    "kernels": kernels,
    "theta": theta,
    "digits": digits,
    "step_time": step_time,
    "gpt2_medium": gpt2_medium,
    "resnet18": resnet18,
}
NO_CUDA = "expected a CUDA device, found none; run it where there is one, or with --toy on the processor"


def run(names: list[str], setting: Setting, out: Path) -> dict[str, Any]:
    """Run parts one after the other and save after each of their steps."""
    result: dict[str, Any] = {
        "hardware": describe(),
        "device": str(setting.device),
        "toy": setting.toy,
        "minutes": setting.minutes,
        "parts": {},
    }
    for name in names:
        started = time.perf_counter()
        if setting.device.type == "cpu" and not setting.toy:
            result["parts"][name] = {"skipped": NO_CUDA}
        elif setting.left_s() <= 0:
            result["parts"][name] = {"skipped": f"expected time within {setting.minutes:g} minutes, found none left"}
        else:
            _advance(name, setting, result, started, out)
        write_json(out, result)
        print(f"{name}: {_state(result['parts'][name])}", flush=True)
    return result


def _advance(name: str, setting: Setting, result: dict[str, Any], started: float, out: Path) -> None:
    """Run one part, saving whenever it has something new; its error is its result."""
    try:
        for found in PARTS[name](setting):
            result["parts"][name] = {**found, "seconds": round(time.perf_counter() - started, 2)}
            write_json(out, result)
    except Exception as error:  # noqa: BLE001 - whatever a part raises: the others are worth as much
        kept = result["parts"].get(name, {})
        result["parts"][name] = {**kept, "failed": f"{type(error).__name__}: {error}"}
        if setting.device.type == "cuda":
            torch.cuda.empty_cache()


def _state(found: dict[str, Any]) -> str:
    for key in ("failed", "skipped"):
        if key in found:
            return f"{key}: {found[key]}"
    return f"{found['seconds']} s"


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0, help="of all parts together; default 8")
    parser.add_argument("--toy", action="store_true", help="small networks, on the processor where there is no GPU")
    parser.add_argument("--only", help="names of parts, default all")
    parser.add_argument("--out", type=Path, help="default benchmarks/results/gpu.json, with --toy gpu_toy.json")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(PARTS)
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise SystemExit(f"expected parts of {', '.join(PARTS)}, found {unknown[0]!r}; correct --only")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    setting = Setting(device, options.toy, options.minutes)
    result = run(names, setting, options.out or (Path("gpu_toy.json") if options.toy else RESULT))
    if any("failed" in part for part in result["parts"].values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
