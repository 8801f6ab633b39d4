"""Cost of one client step at the paper's real size, next to the paper's figures; saved with the hardware.

    python benchmarks/client_cost.py

Measures `cifar10-resnet18` (batch 256, cut after the second BatchNorm) for every algorithm: unchanged; with activation
checkpointing of the first-order clients; with GroupNorm and micro-batches of 32; with both. Costs depend on shapes
alone, so the inputs are zeros and no data set is needed. The first setting is cross-checked: a fresh process per
algorithm takes two steps and reports the rise of its resident memory, plus the client's parameters and inputs. The
excess over the live tensors is the work space of convolutions: one map in a forward pass of this size and up to two
and a half in a backward pass, measured by `convolution_scratch`.
"""

import ctypes
import gc
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hardware import describe
from torch.utils.data import TensorDataset

from heron.algorithms import ALGORITHMS
from heron.client.torch_runtime.runtime import TorchRuntime
from heron.config import RECIPES, recipe_config
from heron.costs.client_step import ClientStep
from heron.data import fetch
from heron.engines.in_process import Federation
from heron.engines.profile import profile_client
from heron.report import print_costs

RESULT = Path(__file__).parent / "results" / "client_cost.json"
RECIPE = "cifar10-resnet18"
MICRO = ["split.norm=group", "client.micro_batch=32"]
SETTINGS = {
    "plain": [],
    "checkpointing": ["client.checkpointing=true"],
    "group norm, micro-batches of 32": MICRO,
    "group norm, micro-batches of 32, checkpointing": [*MICRO, "client.checkpointing=true"],
}

# Checkpointing changes nothing for these.
NO_GRAPH = {"heron", "hosl", "ho_sfl", "frozen"}


def federation(algorithm: str, assignments: list[str]) -> Federation:
    """One client with one batch of zeros."""
    config = recipe_config(RECIPE, algorithm, assignments)
    torch.set_num_threads(config.threads)
    batch = config.client.batch_size
    dataset = TensorDataset(torch.zeros(batch, 3, 32, 32), torch.zeros(batch, dtype=torch.int64))
    return Federation(config.split.build(config.seed), ALGORITHMS[algorithm], dataset, [np.arange(batch)], config)


def resident_rise(algorithm: str) -> int:
    """Bytes by which two steps raise this process's resident memory; to be called in a fresh one."""
    # Code pages and the allocator's first arenas are not the client's.
    small = federation(algorithm, ["client.batch_size=2", "split.width=8"])
    two_steps(small)
    del small
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    parties = federation(algorithm, [])
    resident = parties.learner.resident()
    held = sum(tensor.nbytes for tensor in [*resident["parameters"], *parties.dataset[:]])
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return _rise(lambda: two_steps(parties)) + held


def convolution_scratch() -> dict[str, int]:
    """Bytes that the client's second convolution takes beyond its output and gradients, forward and backward."""
    torch.set_num_threads(recipe_config(RECIPE, "heron", []).threads)
    convolution = torch.nn.Conv2d(64, 64, 3, padding=1, bias=False)
    convolution(torch.zeros(2, 64, 32, 32)).sum().backward()
    inputs = torch.zeros(256, 64, 32, 32).add_(0).requires_grad_()
    outputs: list[torch.Tensor] = []
    forward = _rise(lambda: outputs.append(convolution(inputs)))
    gradient = torch.ones(256, 64, 32, 32)
    backward = _rise(lambda: torch.autograd.backward(outputs, [gradient]))
    return {"map_bytes": gradient.nbytes, "forward": forward - gradient.nbytes, "backward": backward - gradient.nbytes}


def _rise(work: Callable[[], object]) -> int:
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    work()
    return _status("VmHWM") - before


def two_steps(parties: Federation) -> None:
    """The second step has its optimiser state."""
    parties.split.train()
    batch = fetch(parties.dataset, parties.partition[0])
    assert isinstance(parties.runtime, TorchRuntime)  # the default
    step = ClientStep(parties.algorithm, parties.runtime.local, parties.learner, batch, parties.settings)
    step()
    step()


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def fresh_process(task: str) -> Any:
    """`resident_rise` of an algorithm, or `convolution_scratch`, in a process of its own."""
    done = subprocess.run([sys.executable, __file__, task], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def measure() -> dict[str, list[dict[str, Any]]]:
    """Rows of every setting."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for setting, assignments in SETTINGS.items():
        names = [name for name in ALGORITHMS if "checkpointing" not in setting or name not in NO_GRAPH]
        rows[setting] = [profile_client(federation(name, assignments), repeats=1).to_dict() for name in names]
        print_costs(f"{RECIPE}, {setting}", rows[setting], {} if assignments else RECIPES[RECIPE].paper_costs)
    return rows


def main() -> None:
    """Measure, print, save."""
    if len(sys.argv) > 1:
        task = sys.argv[1]
        print(json.dumps(resident_rise(task) if task in ALGORITHMS else convolution_scratch()))
        return
    rows = measure()
    for row in rows["plain"]:
        row["resident_rise_bytes"] = fresh_process(row["algorithm"])
        live, rise = row["peak_memory_bytes"] / 2**20, row["resident_rise_bytes"] / 2**20
        print(f"{row['algorithm']}: {live:.0f} MiB of live tensors, resident memory of a fresh process +{rise:.0f} MiB")
    scratch = fresh_process("convolution_scratch")
    print(f"room a convolution works in: {scratch}")
    result = {
        "hardware": describe(),
        "recipe": RECIPE,
        "settings": SETTINGS,
        "rows": rows,
        "convolution_scratch_bytes": scratch,
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
