"""A network that is lent to training and is its owner's again afterwards."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from heron.errors import SplitError


class _Loans:
    """Parameters that are lent at present."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lent: set[int] = set()

    @contextmanager
    def of(self, parameters: Iterable[nn.Parameter]) -> Iterator[None]:
        own = {id(parameter) for parameter in parameters}
        with self._lock:
            if own & self._lent:
                raise SplitError(
                    "expected a network that nobody else trains at this time, found one that another training has not "
                    "finished with; wait for it, or train a copy.deepcopy"
                )
            self._lent |= own
        try:
            yield
        finally:
            with self._lock:
                self._lent -= own


_LOANS = _Loans()


@contextmanager
def lent(network: nn.Module) -> Iterator[None]:
    """Run the body, which trains a network; afterwards, even if it raised, everything but values is as it was.

    Each parameter is the same object, with storage of its own where training gave it a piece of another one, on its
    device and with its strides; each buffer is the same tensor. Train and eval modes of all modules, `requires_grad`
    flags and gradients are as before. Gradients are put aside meanwhile, because a step would add to them.

    Args:
        network: any module.

    Raises:
        SplitError: if one of its trainable parameters is lent already.
    """
    parameters = list(network.parameters())
    with ExitStack() as stack:
        stack.enter_context(_LOANS.of(parameter for parameter in parameters if parameter.requires_grad))
        for module in network.modules():
            stack.callback(setattr, module, "training", module.training)
            for name, buffer in module.named_buffers(recurse=False):
                stack.callback(_return_buffer, module, name, buffer)
        for parameter in parameters:
            stack.callback(_return_of(parameter))
            parameter.grad = None
        yield


def _return_of(parameter: nn.Parameter) -> Callable[[], None]:
    """Make the function that gives a parameter back as it is now, except for its values; it holds no copy of these."""
    address, device, strides = parameter.data_ptr(), parameter.device, parameter.stride()
    requires_grad, gradient = parameter.requires_grad, parameter.grad

    @torch.no_grad()
    def give_back() -> None:
        if parameter.data_ptr() != address or parameter.device != device:
            own = torch.empty_strided(parameter.size(), strides, dtype=parameter.dtype, device=device)
            parameter.data = own.copy_(parameter)
        parameter.requires_grad_(requires_grad)
        parameter.grad = gradient

    return give_back


@torch.no_grad()
def _return_buffer(module: nn.Module, name: str, buffer: Tensor) -> None:
    present = module.get_buffer(name)
    if present is not buffer and present.shape == buffer.shape:
        buffer.copy_(present)
        setattr(module, name, buffer)
