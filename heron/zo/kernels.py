"""Which kernel does the work: by device, dtype, distribution, size and what is installed, or the one asked for."""

from typing import Literal, get_args

import torch
from torch import Tensor
from torch._subclasses import FakeTensor

from heron.errors import ConfigError
from heron.zo.kernel import Kernel
from heron.zo.numba_kernel import NumbaKernel, numba_loops
from heron.zo.stream import Distribution
from heron.zo.torch_kernel import TorchKernel
from heron.zo.triton_kernel import TritonKernel, is_interpreted, triton_loops

KernelName = Literal["auto", "torch", "numba", "triton"]
KERNELS: tuple[KernelName, ...] = get_args(KernelName)

# Below, loading numba costs more than it saves in a thousand passes.
_NUMBA_ENTRIES = 1 << 16


def choose_kernel(name: KernelName, theta: Tensor, distribution: Distribution) -> Kernel:
    """The kernel for passes over `theta` and tensors like it.

    Args:
        name: the one to take, or `"auto"`: the fastest that can do it, and the same bits from each.
        theta: flat parameters.
        distribution: distribution of the directions.

    Raises:
        ConfigError: if the one asked for is unknown, not installed, or cannot do it.
    """
    if name not in KERNELS:
        raise ConfigError(f"expected a kernel of {KERNELS}, found {name!r}")
    # Fake tensors stand for real ones whose costs are asked for; operations of torch are what can be asked.
    if name == "torch" or isinstance(theta, FakeTensor):
        return TorchKernel(distribution)
    if name == "auto":
        return _fastest(theta, distribution)
    problem = _unfit(name, theta, distribution)
    if problem:
        raise ConfigError(f"kernel {name!r}: expected {problem}; or take kernel 'auto'")
    kernel = _installed(name)
    if kernel is None:
        raise ConfigError(
            f"kernel {name!r} needs the library {name!r}, which is not installed; run: {_INSTALL[name]}, or take "
            f"kernel 'auto'"
        )
    return kernel


_INSTALL = {"numba": "pip install 'heron-sfl[fast]'", "triton": "pip install triton"}


def _fastest(theta: Tensor, distribution: Distribution) -> Kernel:
    kernel = None
    if theta.device.type == "cuda" and not _unfit("triton", theta, distribution):
        kernel = _installed("triton")
    elif theta.numel() >= _NUMBA_ENTRIES and not _unfit("numba", theta, distribution):
        kernel = _installed("numba")
    return kernel or TorchKernel(distribution)


def _installed(name: str) -> Kernel | None:
    if name == "numba":
        loops = numba_loops()
        return None if loops is None else NumbaKernel(loops)
    loops = triton_loops()
    return None if loops is None else TritonKernel(loops)


def _unfit(name: str, theta: Tensor, distribution: Distribution) -> str:
    """What was expected and found, or nothing if the kernel can do it."""
    devices = ("cpu",) if name == "numba" else ("cuda", "cpu") if is_interpreted() else ("cuda",)
    if theta.device.type not in devices:
        return f"parameters on {devices[0]}, found them on {theta.device.type}"
    if theta.dtype != torch.float32:
        return f"float32 parameters, found {theta.dtype}"
    if distribution != "rademacher":
        return f"rademacher directions, found {distribution}"
    return ""
