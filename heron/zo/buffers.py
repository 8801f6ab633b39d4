"""Keep a module's buffers out of probes: running statistics follow the clean pass and nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def preserved_buffers(module: nn.Module) -> Iterator[None]:
    """Run the body, then put every buffer back bit for bit, also when the body raises.

    BatchNorm in training mode normalises by the statistics of its own batch and updates its running statistics in
    passing; under this context only the first of the two lasts (docs/methods.md, "BatchNorm in probes").
    """
    found = [(owner, name, buffer) for owner in _layers(module) for name, buffer in owner._buffers.items()]
    saved = [(owner, name, buffer, buffer.detach().clone()) for owner, name, buffer in found if buffer is not None]
    absent = [(owner, name) for owner, name, buffer in found if buffer is None]
    try:
        yield
    finally:
        with torch.no_grad():
            for owner, name, buffer, value in saved:
                owner._buffers[name] = buffer  # a layer may have assigned a new tensor
                buffer.copy_(value)
        for owner, name in absent:
            owner._buffers[name] = None


def _layers(module: nn.Module) -> list[nn.Module]:
    """List a module and all that it contains, each once: `modules()` without the names, which take most of its time."""
    found: dict[int, nn.Module] = {}
    waiting: list[nn.Module | None] = [module]
    while waiting:
        layer = waiting.pop()
        if layer is not None and id(layer) not in found:
            found[id(layer)] = layer
            waiting += layer._modules.values()
    return list(found.values())
