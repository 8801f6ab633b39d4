"""Trial runs of a module that leave no trace."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from heron.errors import SplitError
from heron.randomness import seeded_randomness
from heron.split.fakes import has_values
from heron.split.token_logits import TokenLogits


@contextmanager
def untouched(module: nn.Module, device: torch.device, seed: int = 0) -> Iterator[None]:
    """Run the body without gradients on seeded generators, then restore everything, even if the body raises.

    Restored bit for bit are parameters, buffers (even those that the body replaced by other tensors), `requires_grad`
    flags, train/eval modes of all submodules, and torch's generators. Other attributes stay as the body left them.

    Args:
        module: module that the body runs; initialised (no lazy layers).
        device: device on which it runs.
        seed: seed of the random numbers that the body draws.
    """
    undo: list[Callable[[], None]] = []
    undo += [partial(setattr, child, "training", child.training) for child in module.modules()]
    undo += [
        _undo(child, name, tensor)
        for child in module.modules()
        for store in (child.named_parameters(recurse=False), child.named_buffers(recurse=False))
        for name, tensor in store
    ]
    try:
        with torch.no_grad(), seeded_randomness(seed, device):
            yield
    finally:
        for action in undo:
            action()


def attempt(what: str, module: nn.Module, inputs: Tensor) -> Tensor:
    """Call a module that must map one tensor to one tensor, or to `TokenLogits`.

    Args:
        what: name of the module in the error, e.g. `"client part"`.
        module: the module.
        inputs: its input.

    Returns:
        Its output; if that is a `TokenLogits`, the hidden states.

    Raises:
        SplitError: if the module raises or returns anything else.
    """
    try:
        outputs = module(inputs)
    except Exception as error:
        raise SplitError(
            f"expected the {what} to run on {str(inputs.dtype).removeprefix('torch.')} of shape "
            f"{tuple(inputs.shape)}, found {one_line(error)}; {_advice(module, inputs)}"
        ) from error
    if isinstance(outputs, TokenLogits):
        return outputs.hidden_BTD
    if not isinstance(outputs, Tensor):
        raise SplitError(
            f"expected the {what} to return one tensor, found {type(outputs).__name__}; wrap it in a module that does"
        )
    return outputs


def same_bits(first: Tensor, second: Tensor) -> bool:
    """Return whether two tensors of one dtype have the same bytes: NaN equals itself, -0.0 differs from 0.0."""
    return torch.equal(_bytes(first), _bytes(second))


def num_writes(tensor: Tensor) -> int:
    """Number of in-place operations so far, including those through views; a write may leave all values equal."""
    return tensor._version  # noqa: SLF001 - torch's only counter of them


def one_line(error: Exception) -> str:
    """Type and first line of an exception, as one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _advice(module: nn.Module, inputs: Tensor) -> str:
    first = next((tensor for tensor in module.parameters() if tensor.dtype.is_floating_point), None)
    takes_tokens = any(isinstance(child, nn.Embedding | nn.EmbeddingBag) for child in module.modules())
    if first is None or takes_tokens or inputs.dtype == first.dtype:
        return "check the example and the layers"
    scale = "" if inputs.dtype.is_floating_point else ", and pixels to a range such as [0, 1]"
    return f"convert the inputs to {str(first.dtype).removeprefix('torch.')}{scale}"


def _undo(module: nn.Module, name: str, tensor: Tensor) -> Callable[[], None]:
    value, requires_grad = tensor.detach().clone(), tensor.requires_grad

    def restore() -> None:
        if getattr(module, name) is not tensor:
            setattr(module, name, tensor)
        tensor.requires_grad_(requires_grad)
        # Written only if changed: a write would invalidate a graph that the caller has yet to backpropagate.
        if has_values(tensor) and not same_bits(tensor, value):
            with torch.no_grad():
                tensor.copy_(value)

    return restore


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)
