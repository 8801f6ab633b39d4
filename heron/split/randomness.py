"""Randomness inside a network as a function of a seed, with the process-wide generator left as it was found."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

Built = TypeVar("Built")


def is_stochastic(module: nn.Module) -> bool:
    """Whether a forward pass in training mode draws random numbers: any Dropout that drops something."""
    return any(isinstance(layer, _DropoutNd) and layer.p > 0 for layer in module.modules())


def has_batchnorm(module: nn.Module) -> bool:
    """Whether the examples of a batch are coupled by BatchNorm."""
    return any(isinstance(layer, _BatchNorm) for layer in module.modules())


@contextmanager
def seeded_randomness(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Run the body with torch's generators started at a seed; they continue afterwards as if it had not run.

    Every pass of a step under the same seed draws the same Dropout masks.

    Args:
        seed: in [0, 2**64).
        device: device of the body's work; its generator is seeded beside the CPU's.
    """
    where = torch.device(device)
    cuda = [where.index if where.index is not None else torch.cuda.current_device()] if where.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)
        for index in cuda:
            torch.cuda.default_generators[index].manual_seed(seed)
        yield


def build_seeded(factory: Callable[[], Built], seed: int) -> Built:
    """Build a module whose initial weights depend on the seed alone."""
    with seeded_randomness(seed):
        return factory()
