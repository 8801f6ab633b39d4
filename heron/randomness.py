"""The process's generators of random numbers, seeded for a block and then given back, and modules that draw from them.

Layers such as Dropout, initial weights, and data sets that augment draw from generators of the whole process: torch's,
NumPy's and Python's. A block that needs them borrows them: it seeds them, and afterwards they continue where their
owner left them. One thread at a time has them; another one that borrows waits. Code of other threads that draws from
them without borrowing, such as a training loop of the user's own, is not held up: run it in a process of its own.
"""

import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from heron.errors import SplitError
from heron.seeds import derive_seed

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


class _Turn:
    """Right to use what the process has once; the thread that has it may ask for it again."""

    def __init__(self) -> None:
        self._renew()
        # A process that is forked meanwhile, e.g. a worker of a DataLoader, has no other thread that could finish.
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = threading.RLock()

    @contextmanager
    def taken(self) -> Iterator[None]:
        with self._lock:
            yield


_TURN = _Turn()
_IN_NUMPY = "MT19937"


@contextmanager
def one_thread_at_a_time() -> Iterator[None]:
    """Run the body while no other thread runs such a body: for state that the process has once.

    Bodies may be nested in one thread. The generators themselves are left alone.
    """
    with _TURN.taken():
        yield


@contextmanager
def seeded_randomness(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Run the body with torch's generators seeded, then restore them, even if the body raises.

    Covers the CPU generator and, for a CUDA device, that device's. Generators of other devices, of NumPy and of
    Python are neither seeded nor restored.

    Args:
        seed: integer in [0, 2**64), e.g. of `heron.seeds.derive_seed`.
        device: device on which the body computes.

    Raises:
        SplitError: if the device is neither a CPU nor a CUDA device.
    """
    generators = _generators(torch.device(device))
    with one_thread_at_a_time():
        states = [generator.get_state() for generator in generators]
        try:
            for generator in generators:
                # Not torch.manual_seed: it reseeds the generators of all devices, even of those not restored here.
                generator.manual_seed(seed)
            yield
        finally:
            for generator, state in zip(generators, states, strict=True):
                generator.set_state(state)


@contextmanager
def borrowed_process(device: torch.device | str = "cpu") -> Iterator[Callable[[int], None]]:
    """Lend the generators of torch, NumPy and Python to the body, then restore them, even if it raises.

    Covers what `seeded_randomness` does, and what the functions of `numpy.random` and of `random` draw from. Generator
    objects that the body has of its own are its own.

    Args:
        device: device on which the body computes.

    Yields:
        A function that seeds all of them with an integer in [0, 2**64); to be called before anything is drawn, and as
        often as the same numbers are wanted.

    Raises:
        SplitError: if the device is neither a CPU nor a CUDA device.
    """
    generators = _generators(torch.device(device))
    with one_thread_at_a_time():
        of_torch = [generator.get_state() for generator in generators]
        of_numpy, of_python = np.random.get_state(legacy=False), random.getstate()  # noqa: NPY002 - the users' own

        def seed_all(seed: int) -> None:
            for generator in generators:
                generator.manual_seed(seed)
            # Seeds of their own: the three are Mersenne twisters, and would draw the same numbers from one seed.
            high, low = divmod(seed, 2**32)
            if of_numpy["bit_generator"] == _IN_NUMPY:  # somebody may have put in one that cannot be seeded
                np.random.seed(derive_seed("numpy", high, low) % 2**32)  # noqa: NPY002
            random.seed(derive_seed("python", high, low))

        try:
            yield seed_all
        finally:
            for generator, state in zip(generators, of_torch, strict=True):
                generator.set_state(state)
            np.random.set_state(of_numpy)  # noqa: NPY002
            random.setstate(of_python)


@contextmanager
def seeded_process(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Run the body with the generators of torch, NumPy and Python seeded, then restore them, see `borrowed_process`.

    Args:
        seed: integer in [0, 2**64).
        device: device on which the body computes.
    """
    with borrowed_process(device) as seed_all:
        seed_all(seed)
        yield


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
