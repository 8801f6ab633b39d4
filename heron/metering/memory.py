"""Live tensor bytes of a piece of work, at their peak, by what they are.

Every storage counts once, however many views it has: those given by the caller from the start, those made by an
operation from its return until the storage is freed. Kernels' internal scratch space is not seen; the cross-check
is the peak RSS of a process. Works on any device and on fake tensors (`torch._subclasses.FakeTensorMode`), whose
storages have a size and no memory.
"""

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

CATEGORIES = ("parameters", "buffers", "inputs", "activations", "gradients", "optimizer_state", "temporaries")


@dataclass(frozen=True)
class MemoryProfile:
    """Peak of the live tensor bytes.

    Attributes:
        peak_bytes: the largest sum at any instant.
        breakdown_bytes: what was alive at that instant, by category; sums to the peak.
    """

    peak_bytes: int
    breakdown_bytes: dict[str, int]


def measure_memory(
    step: Callable[[], object],
    *,
    parameters: Iterable[Tensor],
    buffers: Iterable[Tensor] = (),
    optimizer_state: Iterable[Tensor] = (),
    inputs: Iterable[Tensor] = (),
    modules: Iterable[nn.Module] = (),
) -> MemoryProfile:
    """Run a step once and measure.

    Args:
        step: the work.
        parameters: tensors held before the step that are parameters.
        buffers: likewise, buffers.
        optimizer_state: likewise, optimiser state.
        inputs: likewise, the batch.
        modules: what is made while one of them is in `forward` counts as activations.

    Returns:
        The profile. `gradients` are the `.grad` of the parameters at the end of the step's backward pass or during it;
        `temporaries` is everything made outside a forward pass.
    """
    parameters = list(parameters)
    meter = _Meter()
    # First come, first named: a parameter that is also optimiser state stays a parameter.
    groups = {"parameters": parameters, "buffers": buffers, "optimizer_state": optimizer_state, "inputs": inputs}
    for category, tensors in groups.items():
        for tensor in tensors:
            meter.add(tensor, category)
    hooks = [hook for module in modules for hook in meter.watch(module)]
    hooks += [
        parameter.register_post_accumulate_grad_hook(meter.name_gradient)
        for parameter in parameters
        if parameter.is_leaf and parameter.requires_grad
    ]
    try:
        with meter:
            step()
    finally:
        for hook in hooks:
            hook.remove()
    return MemoryProfile(meter.peak_bytes, meter.breakdown())


class _Meter(TorchDispatchMode):
    """Sees the result of every operation, backward ones included, and follows its storage until it dies."""

    def __init__(self) -> None:
        super().__init__()
        self.peak_bytes = 0
        self._live_bytes = 0
        self._live: dict[int, _Block] = {}
        self._at_peak: list[_Block] = []
        self._depth = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_flatten(result)[0]:
            if isinstance(leaf, Tensor):
                self.add(leaf, "activations" if self._depth else "temporaries")
        return result

    def add(self, tensor: Tensor, category: str) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._live:
            return
        block = _Block(storage.nbytes(), category)
        self._live[key] = block
        self._live_bytes += block.num_bytes
        weakref.finalize(storage, self._remove, key)
        if self._live_bytes > self.peak_bytes:
            self.peak_bytes = self._live_bytes
            self._at_peak = list(self._live.values())

    def watch(self, module: nn.Module) -> list[Any]:
        """Count depth of the module's forward passes; also when one raises."""

        def enter(*_: Any) -> None:
            self._depth += 1

        def leave(*_: Any) -> None:
            self._depth -= 1

        return [
            hook
            for layer in module.modules()
            for hook in (
                layer.register_forward_pre_hook(enter),
                layer.register_forward_hook(leave, always_call=True),
            )
        ]

    def name_gradient(self, parameter: Tensor) -> None:
        """A block that turned out to be a gradient was one all along."""
        if parameter.grad is not None:
            block = self._live.get(parameter.grad.untyped_storage()._cdata)
            if block is not None:
                block.category = "gradients"

    def breakdown(self) -> dict[str, int]:
        sizes = dict.fromkeys(CATEGORIES, 0)
        for block in self._at_peak:
            sizes[block.category] += block.num_bytes
        return sizes

    def _remove(self, key: int) -> None:
        self._live_bytes -= self._live.pop(key).num_bytes


@dataclass
class _Block:
    num_bytes: int
    category: str
