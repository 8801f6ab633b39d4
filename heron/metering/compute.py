"""Floating-point operations, wall time and forward passes of a piece of work."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def measure_flops(step: Callable[[], object]) -> int:
    """Floating-point operations of matrix products, convolutions and attention, 2 per multiply-add.

    Backward passes are included; elementwise work is not (torch's FlopCounterMode).
    """
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def measure_seconds(step: Callable[[], object], *, repeats: int = 3, warmup: int = 1) -> float:
    """Median wall time of a step in seconds, waiting for the GPU where one is in use.

    Args:
        step: the work.
        repeats: timed runs, >= 1.
        warmup: runs before them that do not count, >= 0.
    """
    for _ in range(warmup):
        step()
    return statistics.median(_seconds(step) for _ in range(repeats))


@dataclass
class ForwardCount:
    """Forward passes so far.

    Attributes:
        count: calls of the module.
    """

    count: int = 0


@contextmanager
def count_forwards(module: nn.Module) -> Iterator[ForwardCount]:
    """Count the calls of a module while the body runs.

    Examples:
        >>> layer = nn.Linear(1, 1)
        >>> with count_forwards(layer) as forwards:
        ...     _ = layer(torch.zeros(2, 1)), layer(torch.zeros(2, 1))
        >>> forwards.count
        2
    """
    forwards = ForwardCount()

    def count(*_: object) -> None:
        forwards.count += 1

    handle = module.register_forward_pre_hook(count)
    try:
        yield forwards
    finally:
        handle.remove()


def _seconds(step: Callable[[], object]) -> float:
    _wait()
    started = time.perf_counter()
    step()
    _wait()
    return time.perf_counter() - started


def _wait() -> None:
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
