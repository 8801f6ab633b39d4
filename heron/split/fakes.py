"""Tensors without values: those of torch's `FakeTensorMode` have a shape, a dtype and a storage size, no memory."""

import copy
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor
from torch._subclasses.fake_tensor import unset_fake_temporarily

_ModuleT = TypeVar("_ModuleT", bound=nn.Module)


def has_values(tensor: Tensor) -> bool:
    """Return whether a tensor can be read; a fake tensor supports computation only."""
    return not isinstance(tensor, FakeTensor)


def build_in_any_mode(build: Callable[[], _ModuleT]) -> _ModuleT:
    """Build a module in any mode, even if its constructor cannot run under a `FakeTensorMode`.

    Some libraries move the tensors that they have made, which fails under such a mode. There the module is built on the
    meta device, and its tensors are then replaced by fake ones on the default device. In any other mode this is
    `build()`.

    Args:
        build: function that builds the module; called once.

    Returns:
        The module; shared tensors remain shared.
    """
    with unset_fake_temporarily() as mode:
        if mode is None:
            return build()
        with torch.device("meta"):
            module = build()
    fakes: dict[Tensor, Tensor] = {}
    for child in module.modules():
        for name, tensor in [*child.named_parameters(recurse=False), *child.named_buffers(recurse=False)]:
            fakes.setdefault(tensor, _fake_like(tensor))
            setattr(child, name, fakes[tensor])
    return module


def fake_copy(module: _ModuleT) -> _ModuleT:
    """Copy a module without its values; to be called under a `FakeTensorMode`.

    Args:
        module: any module; stays as it is.

    Returns:
        The copy, its tensors on the default device; shared tensors remain shared.
    """
    tensors = [*module.parameters(), *module.buffers()]
    return copy.deepcopy(module, {id(tensor): _fake_like(tensor) for tensor in tensors})


def _fake_like(tensor: Tensor) -> Tensor:
    fake = torch.empty(tensor.shape, dtype=tensor.dtype)
    return nn.Parameter(fake, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else fake
