"""Seeded randomness inside modules, and a test of which modules are random at all.

torch's layers draw Dropout masks and initial weights from a process-wide generator. Here that generator is seeded for
the duration of a block, then restored.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from heron.errors import SplitError

_ModuleT = TypeVar("_ModuleT", bound=nn.Module)


def has_batchnorm(module: nn.Module) -> bool:
    """Return whether a module contains a batch normalisation, which couples the examples of a batch in training."""
    return any(isinstance(child, _BatchNorm) for child in module.modules())


def is_stochastic(module: nn.Module) -> bool:
    """Return whether a forward pass in training mode draws random numbers, judged by the types of the layers.

    Known types are every Dropout of `torch.nn` with p > 0 (`AlphaDropout` and similar included), recurrent layers and
    attention with a dropout > 0, `RReLU` and fractional max pooling. A user's own layer that draws becomes known by
    deriving from `torch.nn.Dropout`; `check_trainable` refuses a layer that draws and is not known.
    """
    return any(_draws(child) for child in module.modules())


@contextmanager
def seeded_randomness(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Run the body with torch's generators seeded, then restore them, even if the body raises.

    Covers the CPU generator and, for a CUDA device, that device's. Generators of other devices, of NumPy and of
    Python are neither seeded nor restored.

    Args:
        seed: integer in [0, 2**64), e.g. of `heron.zo.derive_seed`.
        device: device on which the body computes.

    Raises:
        SplitError: if the device is neither a CPU nor a CUDA device.
    """
    generators = _generators(torch.device(device))
    states = [generator.get_state() for generator in generators]
    try:
        for generator in generators:
            # Not torch.manual_seed: it reseeds the generators of all devices, even of those not restored here.
            generator.manual_seed(seed)
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def build_seeded(factory: Callable[[], _ModuleT], seed: int) -> _ModuleT:
    """Build a module whose initial weights depend on the seed alone.

    Args:
        factory: function that builds the module, e.g. `lambda: digits_cnn()`.
        seed: integer in [0, 2**64).

    Returns:
        The module that the factory returned; the process-wide generator is as before.
    """
    with seeded_randomness(seed, torch.get_default_device()):
        return factory()


def generator_states(device: torch.device) -> list[Tensor]:
    """States of the generators that layers on a device draw from: equal before and after if nothing was drawn."""
    return [generator.get_state() for generator in _generators(device)]


def _generators(device: torch.device) -> list[torch.Generator]:
    if device.type not in ("cpu", "cuda"):
        raise SplitError(f"expected a cpu or cuda device, found {device}: randomness there cannot be seeded; use one")
    generators = [torch.default_generator]
    if device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]
        index = torch.cuda.current_device() if device.index is None else device.index
        generators.append(torch.cuda.default_generators[index])
    return generators


def _draws(module: nn.Module) -> bool:
    if isinstance(module, _DropoutNd):
        return module.p > 0
    if isinstance(module, nn.RNNBase | nn.MultiheadAttention):
        return module.dropout > 0
    if isinstance(module, nn.RReLU):
        return module.lower != module.upper
    if isinstance(module, nn.FractionalMaxPool2d | nn.FractionalMaxPool3d):
        return "_random_samples" not in dict(module.named_buffers())
    return False
