"""The short parts of `gpu.py`: bits of kernels and steps, digits in one process, time of a step."""

import copy
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from heron.config import build_run, recipe_config
from heron.costs.client_step import zeros
from heron.errors import HeronError
from heron.tensors import as_tensor
from heron.zo import SGD, Adam, Estimator, FlatParameters, KernelName, StepRecord, ZerothOrder, replay_
from heron.zo.kernels import choose_kernel

MU = 1e-3


@dataclass(frozen=True)
class Setting:
    """Where parts run, and for how long.

    Attributes:
        device: a CUDA device, or the processor.
        toy: whether networks are small and images synthetic.
        minutes: for all parts together.
    """

    device: torch.device
    toy: bool
    minutes: float
    _started: float = field(default_factory=time.perf_counter)

    def left_s(self) -> float:
        """Seconds that are left."""
        return 60.0 * self.minutes - (time.perf_counter() - self._started)

    def wait(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


Part = Callable[[Setting], Iterator[dict[str, Any]]]


def same_bits(found: Tensor, expected: Tensor) -> bool:
    """Return whether two tensors of float32 have the same bits."""
    return torch.equal(found.detach().cpu().view(torch.int32), expected.detach().cpu().view(torch.int32))


def kernels(setting: Setting) -> Iterator[dict[str, Any]]:
    """Compare `out = base + sum_p scale_p direction(seed_p)` with NumPy's kernel, and time it."""
    size = 100_003 if setting.toy else 10_000_019
    names: tuple[KernelName, ...] = ("torch", "triton") if setting.device.type == "cuda" else ("torch", "numba")
    base = torch.randn(size, generator=torch.Generator().manual_seed(0))
    seeds, scales = [1, 2, 3], torch.tensor([1e-3, -2e-3, 0.5])
    expected = torch.empty_like(base)
    choose_kernel("numpy", base, "rademacher").add_directions_(expected, base, seeds, scales)
    theta, factors, out = base.to(setting.device), scales.to(setting.device), torch.empty_like(base).to(setting.device)
    rows: list[dict[str, Any]] = []
    for name in names:
        rows.append({"kernel": name, "entries": size})
        try:
            kernel = choose_kernel(name, theta, "rademacher")
        except HeronError as error:  # not installed
            rows[-1]["skipped"] = str(error)
            continue
        add = partial(kernel.add_directions_, out, theta, seeds, factors)
        add()
        rows[-1]["same_bits_as_numpy"] = same_bits(out, expected)
        rows[-1]["gigabytes_per_s"] = 2 * base.nbytes / median_s(setting, add) / 1e9
        yield {"rows": rows}
    yield {"rows": rows}


def theta(setting: Setting) -> Iterator[dict[str, Any]]:
    """Take steps on the device and replay them on the processor from seeds and scalars."""
    width, rows = (64 if setting.toy else 4096), []
    for rule in (SGD(1e-2), Adam(1e-2)):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(32, width), nn.ReLU(), nn.Linear(width, 10))
        replayed = FlatParameters(copy.deepcopy(module))
        inputs, labels = torch.randn(16, 32).to(setting.device), (torch.arange(16) % 10).to(setting.device)
        optimizer = ZerothOrder(module.to(setting.device), rule=rule, estimator=Estimator(MU, 2))
        records: list[StepRecord] = []
        for _ in range(5):
            optimizer.step(lambda: cross_entropy(module(inputs), labels))  # noqa: B023
            assert optimizer.last_step is not None  # just taken
            taken = optimizer.last_step
            records.append(StepRecord(taken.seeds, taken.projected_gradients_P.cpu()))
        replay_(rule, rule.init(replayed.theta), replayed, records, "rademacher")
        rows.append(
            {
                "rule": type(rule).__name__,
                "parameters": len(replayed.theta),
                "steps": len(records),
                "same_bits_as_replay": same_bits(optimizer.flat.theta, replayed.theta),
            }
        )
        yield {"rows": rows}


def digits(setting: Setting) -> Iterator[dict[str, Any]]:
    """Train `digits` by reference and with encoded messages."""
    rounds = 1 if setting.toy else 10
    common = [f"rounds={rounds}", f"device={setting.device.type}", "update=scalars", "client.keep_state=false"]
    states: list[dict[str, Tensor]] = []
    rows: list[dict[str, Any]] = []
    for wire in ("false", "true"):
        started = time.perf_counter()
        run = build_run(recipe_config("digits", "heron", [*common, f"wire={wire}"]), None)
        metrics = run.train()
        setting.wait()
        states.append({name: tensor.cpu() for name, tensor in run.federation.state()[0].items()})
        seconds = round(time.perf_counter() - started, 2)
        rows.append({"wire": wire == "true", "test_accuracy": metrics[-1]["test_accuracy"], "seconds": seconds})
        yield {"rounds": rounds, "rows": rows}
    same = states[0].keys() == states[1].keys()
    same = same and all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    yield {"rounds": rounds, "rows": rows, "wire_equals_reference": same}


def step_time(setting: Setting) -> Iterator[dict[str, Any]]:
    """Time a zeroth-order step with one probe and the two forwards in it."""
    rows = []
    for name, (recipe, changes, size) in clients_of(setting.toy).items():
        if setting.left_s() <= 0:
            break
        config = recipe_config(recipe, "heron", changes)
        split = config.split.build(config.seed, random_weights=True)
        assert split.auxiliary is not None  # heron's clients have one
        module = nn.Sequential(split.client, split.auxiliary).to(setting.device)
        batch = zeros(config.data.example, size, setting.device.type)
        inputs, labels, loss = as_tensor(batch.inputs), as_tensor(batch.labels), config.split.criterion
        optimizer = ZerothOrder(module, rule=Adam(1e-9), estimator=Estimator(MU, 1))

        @torch.no_grad()
        def forwards() -> None:
            for _ in range(2):
                loss(module(inputs), labels)  # noqa: B023

        def step() -> None:
            optimizer.step(lambda: loss(module(inputs), labels))  # noqa: B023

        repeats = 3 if setting.toy else 21
        found = [(median_s(setting, forwards, 1), median_s(setting, step, 1)) for _ in range(repeats)]
        rows.append(
            {
                "client": name,
                "batch": size,
                "parameters": len(optimizer.flat.theta),
                "two_forwards_ms": 1e3 * statistics.median(pair[0] for pair in found),
                "step_over_two_forwards": statistics.median(taken / bare for bare, taken in found),
            }
        )
        yield {"rows": rows}


def clients_of(toy: bool) -> dict[str, tuple[str, list[str], int]]:
    """Recipe, changes and examples of a forward pass, by the client's name."""
    if toy:
        small = ["split.width=4"]
        language = ["split.cut=1", "data.max_length=16"]
        return {"resnet18, width 4": ("cifar10-resnet18", small, 4), "gpt2, one block": ("e2e-gpt2", language, 1)}
    return {"resnet18": ("cifar10-resnet18", [], 256), "gpt2-medium": ("e2e-gpt2-medium", [], 4)}


def median_s(setting: Setting, work: Callable[[], object], repeats: int = 5) -> float:
    """Median seconds of a piece of work, the device waited for; it runs once before."""
    times = []
    for number in range(repeats + 1):
        setting.wait()
        started = time.perf_counter()
        work()
        setting.wait()
        if number:
            times.append(time.perf_counter() - started)
    return statistics.median(times)
