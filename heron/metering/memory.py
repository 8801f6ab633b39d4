"""Peak of the live tensor bytes of a piece of work, by category.

Every storage counts once with all its bytes, no matter how many views it has. Storages that exist before the step count
from its start; storages made by an operation count from its return until their memory is freed. All devices are added
up. Not counted: scratch space inside a kernel, NumPy's memory, the work of threads other than autograd's, and the
rounding of an allocator. While any dispatch mode is on, autograd sums the gradients of a branch out of place, which
costs one extra activation map for an instant of the backward pass (docs/decisions/0003).
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, UntypedStorage, nn
from torch.utils._python_dispatch import TorchDispatchMode, is_traceable_wrapper_subclass

from heron.metering.storages import StorageLedger

# These wrap memory that Python has just allocated, which did not exist before.
_WRAPS_NEW_MEMORY = frozenset({torch.ops.aten.lift_fresh.default, torch.ops.aten.lift_fresh_copy.default})

_COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd


@dataclass(frozen=True)
class MemoryProfile:
    """Peak of the live tensor bytes.

    Attributes:
        peak_bytes: the largest sum at any instant.
        breakdown_bytes: live bytes at the first such instant, by category; they sum to the peak.
    """

    peak_bytes: int
    breakdown_bytes: dict[str, int]


def measure_memory(
    step: Callable[[], object],
    *,
    parameters: Iterable[Tensor],
    buffers: Iterable[Tensor] = (),
    optimizer_state: Iterable[Tensor] | Callable[[], Iterable[Tensor]] = (),
    inputs: Iterable[Tensor] = (),
    modules: Iterable[nn.Module] = (),
) -> MemoryProfile:
    """Run a step once and measure its peak memory.

    A storage named twice keeps its first name, in the order of the arguments below. Tensors that the step reads but
    that are not named here count from the start too, as `temporaries`.

    For a model too large to run, make model, inputs and optimiser inside `with FakeTensorMode() as mode:` and measure
    there: the same bytes, without the memory. A model that exists already, or whose constructor reads values, becomes
    fake with `model._apply(mode.from_tensor)`; views of a flat buffer remain views. The mode encloses this call and is
    not entered inside the step, and the step must not read values (`.item()`).

    Args:
        step: the work: forward and backward passes, with or without gradients.
        parameters: parameters that exist before the step, views of a flat buffer included.
        buffers: buffers that exist before the step.
        optimizer_state: optimiser state that exists before the step, or a function that lists the present state. The
            function is called again at the end, so that state made by the step gets this category, too.
        inputs: the batch.
        modules: modules whose activations are counted: tensors made while one of them, or one of their layers, is in
            `forward` are `activations`, including those of a recomputing forward.

    Returns:
        The profile. `gradients` are tensors that were or became a `.grad` of the parameters. `temporaries` are the
        rest: the loss, gradients of activations, work space of the optimiser.

    Examples:
        >>> layers = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)).requires_grad_(False)
        >>> x_BD = torch.zeros(2, 8)
        >>> profile = measure_memory(lambda: layers(x_BD), parameters=layers.parameters(), modules=[layers])
        >>> profile.breakdown_bytes["activations"] == 2 * x_BD.nbytes
        True
    """
    parameters = list(parameters)
    ledger = StorageLedger()
    _record(ledger, "parameters", parameters)
    _record(ledger, "buffers", buffers)
    _record(ledger, "optimizer_state", _present(optimizer_state))
    _record(ledger, "inputs", inputs)
    _record(ledger, "gradients", _gradients(parameters))
    meter = _Meter(ledger)
    with ExitStack() as cleanup:
        for hook in _hooks(meter, modules, parameters):
            cleanup.callback(hook.remove)
        with meter:
            step()
        _rename(ledger, "gradients", _gradients(parameters))
        _rename(ledger, "optimizer_state", _present(optimizer_state))
        return MemoryProfile(ledger.peak_bytes, ledger.breakdown())


class _Watching:
    """Shows the ledger every operation's operands and results.

    Not the mode itself: see `heron.metering.compute`, which spares the import of torch's compiler in the same way.
    """

    def __init__(self, ledger: StorageLedger) -> None:
        super().__init__()
        self._ledger = ledger
        self._depth = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.is_inference_mode_enabled() and _is_composite(func):
            # In inference mode alone, composite operations arrive whole and would hide what their parts allocate.
            with self:  # type: ignore[attr-defined]
                return func._op_dk(_COMPOSITE, *args, **kwargs)
        if func not in _WRAPS_NEW_MEMORY:
            _record(self._ledger, "temporaries", (args, kwargs))
        result = func(*args, **kwargs)
        category = "activations" if self._depth else "temporaries"
        for storage in _storages(result):
            self._ledger.created(storage, category)
        return result

    def enter_forward(self, *_: object) -> None:
        self._depth += 1

    def leave_forward(self, *_: object) -> None:
        self._depth -= 1

    def name_gradient(self, parameter: Tensor) -> None:
        """Count the storage of a gradient as `gradients` from its birth, even if it is released before the end."""
        _rename(self._ledger, "gradients", parameter.grad)


class _Meter(_Watching, TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The mode; autograd's threads inherit it."""


def _is_composite(func: Any) -> bool:
    if not isinstance(func, torch._ops.OpOverload):
        return False
    name = func.name()  # type: ignore[no-untyped-call]
    return torch._C._dispatch_has_kernel_for_dispatch_key(name, _COMPOSITE)


# Separate functions, because a loop variable would keep its last tensor alive for the rest of the step.
def _record(ledger: StorageLedger, category: str, tree: object) -> None:
    for storage in _storages(tree):
        ledger.existed(storage, category)


def _rename(ledger: StorageLedger, category: str, tree: object) -> None:
    for storage in _storages(tree):
        ledger.rename(storage, category)


def _hooks(meter: _Meter, modules: Iterable[nn.Module], parameters: Iterable[Tensor]) -> Iterator[Any]:
    # A step may call a part of a module, so every layer has hooks; a layer within a layer counts as depth 2.
    for module in modules:
        for layer in module.modules():
            yield layer.register_forward_pre_hook(meter.enter_forward, prepend=True)
            yield layer.register_forward_hook(meter.leave_forward, always_call=True)
    for parameter in parameters:
        if parameter.is_leaf and parameter.requires_grad:
            yield parameter.register_post_accumulate_grad_hook(meter.name_gradient)  # type: ignore[no-untyped-call]


def _present(state: Iterable[Tensor] | Callable[[], Iterable[Tensor]]) -> Iterable[Tensor]:
    return state if isinstance(state, Iterable) else state()


def _gradients(parameters: Iterable[Tensor]) -> list[Tensor]:
    # An inner tensor of an autograd graph has no `.grad`; asking for it causes a warning.
    return [leaf.grad for leaf in parameters if leaf.is_leaf and leaf.grad is not None]


def _storages(tree: object) -> Iterator[UntypedStorage]:
    """Storages of all tensors in nested containers, such as the arguments or results of an operation."""
    if isinstance(tree, Tensor):
        if tree.is_sparse:
            yield from _storages((tree._indices(), tree._values()))
        elif is_traceable_wrapper_subclass(tree):
            yield from _storages([getattr(tree, name) for name in tree.__tensor_flatten__()[0]])
        else:
            yield tree.untyped_storage()
    elif isinstance(tree, dict):
        for leaf in tree.values():
            yield from _storages(leaf)
    elif isinstance(tree, Iterable) and not isinstance(tree, str):
        for leaf in tree:
            yield from _storages(leaf)
