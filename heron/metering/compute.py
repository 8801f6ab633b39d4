"""Floating-point operations, wall time and forward passes of a piece of work."""

import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from heron.errors import ConfigError


def measure_flops(step: Callable[[], object]) -> int:
    """Run a step once and count the floating-point operations of matrix products, convolutions and attention.

    A multiply-add counts as two. Backward passes and recomputed forwards are included; elementwise work, normalisation,
    lookups and products of a matrix with a vector (`torch.mv`) are not. Works inside a `FakeTensorMode`, too.

    Args:
        step: the work.

    Returns:
        The count, >= 0: by the formulas of torch's FlopCounterMode, and those of fused attention on a CPU.

    Examples:
        >>> layer, x_BD = nn.Linear(3, 5), torch.zeros(2, 3)
        >>> measure_flops(lambda: layer(x_BD)) == 2 * 2 * 3 * 5
        True
    """
    counter = _Counter()
    with counter:
        step()
    return counter.flops


def measure_seconds(
    step: Callable[[], object], *, repeats: int = 3, warmup: int = 1, enough_s: float = math.inf
) -> float:
    """Median wall time of a step in seconds; waits for the GPU if one is in use.

    Args:
        step: the work.
        repeats: timed runs, >= 1.
        warmup: untimed runs before them, >= 0.
        enough_s: total time of the timed runs after which no further run starts.

    Raises:
        ConfigError: if a number is out of range.
    """
    if repeats < 1 or warmup < 0:
        raise ConfigError(f"expected repeats >= 1 and warmup >= 0, found {repeats} and {warmup}")
    for _ in range(warmup):
        step()
    found: list[float] = []
    while len(found) < repeats and sum(found) < enough_s:
        found.append(_seconds(step))
    return statistics.median(found)


@dataclass
class ForwardCount:
    """Number of forward passes so far.

    Attributes:
        count: number of calls of the module.
    """

    count: int = 0


@contextmanager
def count_forwards(module: nn.Module) -> Iterator[ForwardCount]:
    """Count the calls of a module while the body runs, including calls that raise.

    Args:
        module: the module; calls of `module.forward` that bypass `module(...)` are not counted.

    Yields:
        The count so far; it can still be read after the block.

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

    handle = module.register_forward_pre_hook(count, prepend=True)
    try:
        yield forwards
    finally:
        handle.remove()


class _Counting:
    """Count of operations, as torch's FlopCounterMode makes it.

    torch imports its compiler, which takes as long as a short training, for the first operation under a mode whose
    class itself defines `__torch_dispatch__`; so that one is defined here and the mode inherits it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0
        self._formulas = _formulas()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func.namespace != "prim":  # a question about a tensor, such as its device, is none
            with self:  # type: ignore[attr-defined]  # a composite operation counts as its parts
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        formula = self._formulas.get(func._overloadpacket)
        if formula is not None:
            self.flops += int(formula(*args, **kwargs, out_val=result))
        return result


class _Counter(_Counting, TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The mode."""


@cache
def _formulas() -> dict[Any, Callable[..., int]]:
    """FLOPs of operations from their arguments.

    torch's know the GPU kernels of fused attention but not the CPU's, which compute the same products, and count the
    gradient of a grouped convolution's weights as if every group saw all channels. Gradients of single examples by
    `torch.func` are such convolutions, with a group for each example.
    """
    from torch.utils.flop_counter import FlopCounterMode, flop_registry, sdpa_backward_flop_count, sdpa_flop_count

    def forward(query_shape: Any, key_shape: Any, value_shape: Any, *_: object, **__: object) -> int:
        return int(sdpa_flop_count(query_shape, key_shape, value_shape))  # type: ignore[no-untyped-call]

    def backward(
        output_shape: Any, query_shape: Any, key_shape: Any, value_shape: Any, *_: object, **__: object
    ) -> int:
        return int(sdpa_backward_flop_count(output_shape, query_shape, key_shape, value_shape))  # type: ignore[no-untyped-call]

    ungrouped = flop_registry[torch.ops.aten.convolution_backward]

    def convolution_backward(*shapes: Any, out_shape: Any, **_: object) -> int:
        *given, groups, (inputs, weights, bias) = shapes
        masks = (inputs, False, False), (False, weights, bias)
        at_inputs, at_weights = (ungrouped(*given, groups, mask, out_val=out_shape) for mask in masks)
        return int(at_inputs + at_weights // groups)

    fused = "_scaled_dot_product_flash_attention_for_cpu"
    of_cpu = {getattr(torch.ops.aten, fused): forward, getattr(torch.ops.aten, f"{fused}_backward"): backward}
    own = {**of_cpu, torch.ops.aten.convolution_backward: convolution_backward}
    return FlopCounterMode(display=False, custom_mapping=own).flop_registry


def _seconds(step: Callable[[], object]) -> float:
    _wait()
    started = time.perf_counter()
    step()
    _wait()
    return time.perf_counter() - started


def _wait() -> None:
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
