"""Tensors without values: those of torch's `FakeTensorMode` have a shape, a dtype and a storage size, no memory."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor
from torch._subclasses.fake_tensor import unset_fake_temporarily

_ModuleT = TypeVar("_ModuleT", bound=nn.Module)


def has_values(tensor: Tensor) -> bool:
    """Whether a tensor can be read; a fake one can only be computed with."""
    return not isinstance(tensor, FakeTensor)


def build_in_any_mode(build: Callable[[], _ModuleT]) -> _ModuleT:
    """Build a module whose constructor cannot run under a `FakeTensorMode`: libraries move what they have made.

    Under such a mode the module is built on the meta device, and its tensors are then made anew as fake ones on the
    default device; else this is `build()`.

    Args:
        build: builds it; called once.

    Returns:
        The module; tensors that are one stay one.
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


def _fake_like(tensor: Tensor) -> Tensor:
    fake = torch.empty(tensor.shape, dtype=tensor.dtype)
    return nn.Parameter(fake, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else fake
