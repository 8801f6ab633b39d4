"""Time of a zeroth-order step over that of its q + 1 forwards, head included, for each kernel and for MeZO's scheme.

    python benchmarks/step_time.py [--quick] [--only NAME] [--repeats N]

Clients with random weights and inputs: all 67.7 M parameters of a GPT-2 client (embeddings, 4 blocks, tied head; 4
sequences of 64 tokens), LoRA in the client of `e2e-gpt2` (one micro-batch: a sequence of 512 tokens), and the CNN
clients of `cifar10-resnet18` and `cifar10-resnet18-small`. A repeat times, in an order that rotates, the bare forwards,
a step of `heron.zo.ZerothOrder` with the automatic kernel, with NumPy's and with torch's, and a step of MeZO (Malladi
et al., NeurIPS 2023, Algorithm 1): Gaussian noise generated four times, for +mu, -2 mu, +mu and the update.

Ratios are medians over the repeats of wall time. Ratios of processor time are computed in the same way; they are more
reliable if other processes use the cores, and less if threads busy-wait. Saves benchmarks/results/step_time.json.
"""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from hardware import describe
from torch import Tensor, nn

from heron.config import recipe_config
from heron.costs.client_step import zeros
from heron.tensors import as_tensor
from heron.zo import RULES, Distribution, Estimator, ZerothOrder

RESULT = Path(__file__).parent / "results" / "step_time.json"
MU, RATE = 1e-3, 1e-9
FULL = ["split.lora_rank=0", "split.cut=4", "split.auxiliary_blocks=0", "data.max_length=64", "client.optimizer=sgd"]
# Recipe, changes, examples of a forward pass, directions, largest ratio allowed by number of threads.
CLIENTS: dict[str, tuple[str, list[str], int, Distribution, dict[int, float]]] = {
    "GPT-2, 67.7 M": ("e2e-gpt2", FULL, 4, "rademacher", {1: 1.12, 2: 1.15}),
    "GPT-2, LoRA": ("e2e-gpt2", [], 1, "rademacher", {1: 1.10, 2: 1.10}),
    "GPT-2, LoRA, Gaussian": ("e2e-gpt2", [], 1, "gaussian", {1: 1.10, 2: 1.10}),
    "cifar10-resnet18": ("cifar10-resnet18", [], 64, "rademacher", {1: 1.10, 2: 1.10}),
    "cifar10-resnet18-small": ("cifar10-resnet18-small", [], 64, "rademacher", {1: 1.10, 2: 1.10}),
}


class Mezo:
    """MeZO with SGD; its perturbations stay behind, up to rounding.

    Args:
        module: what is trained.
    """

    def __init__(self, module: nn.Module) -> None:
        self._parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self._num_steps = 0

    @torch.no_grad()
    def step(self, loss_fn: Callable[[], Tensor]) -> None:
        """Two forwards, four times the noise."""
        self._num_steps += 1
        self._add(MU)
        forward = loss_fn()
        self._add(-2.0 * MU)
        backward = loss_fn()
        self._add(MU)
        self._add(-RATE * float((forward - backward) / (2.0 * MU)))

    def _add(self, scale: float) -> None:
        generator = torch.Generator().manual_seed(self._num_steps)
        for parameter in self._parameters:
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=scale)


def client(name: str) -> tuple[nn.Module, Callable[[nn.Module], Tensor], str]:
    """A client with its head, its loss on one batch, and its update rule."""
    recipe, changes, batch_size, _, _ = CLIENTS[name]
    config = recipe_config(recipe, "heron", changes)
    split = config.split.build(config.seed, random_weights=True)
    assert split.auxiliary is not None  # heron's clients have one
    module = nn.Sequential(split.client, split.auxiliary)
    batch = zeros(config.data.example, batch_size, "cpu")
    labels = as_tensor(batch.labels)
    generator = torch.Generator().manual_seed(0)
    if batch.inputs.dtype == torch.int64:
        inputs = torch.randint(0, 50257, batch.inputs.shape, generator=generator)
    else:
        inputs = torch.randn(batch.inputs.shape, generator=generator)
    loss = config.split.criterion
    return module, lambda module: loss(module(inputs), labels), config.client.optimizer


def measure(name: str, repeats: int) -> list[dict[str, Any]]:
    """A row for each number of threads."""
    module, loss, optimizer = client(name)
    estimator = Estimator(MU, 1, CLIENTS[name][3])
    ours = ZerothOrder(copy.deepcopy(module), rule=RULES[optimizer](RATE), estimator=estimator)
    in_numpy = ZerothOrder(copy.deepcopy(module), rule=RULES[optimizer](RATE), estimator=estimator, kernel="numpy")
    in_torch = ZerothOrder(copy.deepcopy(module), rule=RULES[optimizer](RATE), estimator=estimator, kernel="torch")
    noisy = copy.deepcopy(module)
    mezo = Mezo(noisy)

    @torch.no_grad()
    def forwards() -> None:
        for _ in range(estimator.num_probes + 1):
            loss(module)

    runs: dict[str, Callable[[], object]] = {
        "forwards": forwards,
        "ours": lambda: ours.step(lambda: loss(ours.flat.module)),
        "numpy": lambda: in_numpy.step(lambda: loss(in_numpy.flat.module)),
        "torch": lambda: in_torch.step(lambda: loss(in_torch.flat.module)),
        "MeZO": lambda: mezo.step(lambda: loss(noisy)),
    }
    rows = []
    for num_threads in (1, 2):
        torch.set_num_threads(num_threads)
        wall, processor = interleaved(runs, repeats)
        row: dict[str, Any] = {
            "client": name,
            "optimizer": optimizer,
            "num_parameters": len(ours.flat),
            "threads": num_threads,
            "target": CLIENTS[name][4][num_threads],
            "forwards_s": statistics.median(wall["forwards"]),
        }
        for run in ("ours", "numpy", "torch", "MeZO"):
            row[run] = ratios(wall[run], wall["forwards"]) | {
                "processor": ratios(processor[run], processor["forwards"])
            }
        rows.append(row)
        print_row(row)
    return rows


def interleaved(
    runs: dict[str, Callable[[], object]], repeats: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Wall and processor seconds of each run in each repeat, after one that does not count."""
    wall: dict[str, list[float]] = {name: [] for name in runs}
    processor: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for repeat in range(-1, repeats):
        first = repeat % len(names)
        for name in names[first:] + names[:first]:
            started, worked = time.perf_counter(), time.process_time()
            runs[name]()
            if repeat >= 0:
                wall[name].append(time.perf_counter() - started)
                processor[name].append(time.process_time() - worked)
    return wall, processor


def ratios(spent: list[float], plain: list[float]) -> dict[str, Any]:
    """Median and quartiles of the ratios within a repeat, and the ratio of the fastest."""
    low, middle, high = statistics.quantiles((one / other for one, other in zip(spent, plain, strict=True)), n=4)
    return {"ratio": middle, "quartiles": [low, high], "fastest": min(spent) / min(plain)}


def print_row(row: dict[str, Any]) -> None:
    """One line of the table."""
    cells = [
        f"{row[run]['ratio']:.3f} ({row[run]['quartiles'][0]:.3f}-{row[run]['quartiles'][1]:.3f}), "
        f"{row[run]['processor']['ratio']:.3f}"
        for run in ("ours", "numpy", "torch", "MeZO")
    ]
    head = [row["client"], f"{row['num_parameters']:,}", str(row["threads"]), f"{1e3 * row['forwards_s']:.1f} ms"]
    print(f"| {' | '.join([*head, *cells, str(row['target'])])} |", flush=True)


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=CLIENTS, action="append", help="measure this client alone; may be repeated")
    parser.add_argument("--repeats", type=int, default=21, help="repeats of each client and number of threads")
    parser.add_argument("--quick", action="store_true", help="3 repeats, and nothing is saved")
    options = parser.parse_args()
    print("| client | d | threads | q + 1 forwards | ours (quartiles), CPU time | numpy | torch | MeZO | target |")
    print("|---|---|---|---|---|---|---|---|---|")
    rows = []
    for name in options.only or CLIENTS:
        rows += measure(name, 3 if options.quick else options.repeats)
    if not options.quick:
        RESULT.write_text(json.dumps({"hardware": describe(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
