"""The choice of a kernel: by kind, device, element type, distribution, size and installed libraries, or by name."""

from typing import Any, Literal, get_args

from numpy.typing import NDArray

from heron.arrays import Array, dtype_name, is_tensor
from heron.errors import ConfigError
from heron.zo.kernel import Kernel
from heron.zo.numba_kernel import NumbaKernel, numba_loops
from heron.zo.numpy_kernel import NumpyKernel
from heron.zo.stream import Distribution

KernelName = Literal["auto", "numpy", "numba", "torch", "triton"]
"""Code of the passes over the parameters; `auto` takes the fastest that can do it."""
KERNELS: tuple[KernelName, ...] = get_args(KernelName)
"""All kernels by name."""

NUMBA_BYTES = 130 << 20
"""Memory that numba takes in a process, whatever it compiles."""
# From here on the two copies of theta and Adam's moments take as much; a smaller client would double its memory.
_NUMBA_ENTRIES = 1 << 23
_INSTALL = {"numba": "pip install 'heron-sfl[fast]'", "triton": "pip install triton"}


def choose_kernel(name: KernelName, theta: Array, distribution: Distribution) -> Kernel[Any]:
    """Choose the kernel for passes over `theta` and arrays like it.

    Args:
        name: the kernel to take, or `"auto"`: the fastest that can do it, and the same bits from each.
        theta: flat parameters.
        distribution: distribution of the directions.

    Raises:
        ConfigError: if the kernel asked for is unknown, not installed, or cannot do it.
    """
    if name not in KERNELS:
        raise ConfigError(f"expected a kernel of {KERNELS}, found {name!r}")
    if is_tensor(theta):
        from heron.zo.tensor_kernels import choose_tensor_kernel

        return choose_tensor_kernel(name, theta, distribution)
    if name in ("torch", "triton"):
        raise ConfigError(f"kernel {name!r}: expected tensors, found NumPy arrays; or take kernel 'auto'")
    return array_kernel(name, theta, distribution)


def array_kernel(name: KernelName, theta: Array, distribution: Distribution) -> Kernel[NDArray[Any]]:
    """Choose among the kernels that take arrays: `"numpy"`, `"numba"`, or the faster one that can do it.

    Args:
        name: `"auto"`, `"numpy"` or `"numba"`.
        theta: flat parameters, an array or a tensor of the CPU.
        distribution: distribution of the directions.

    Raises:
        ConfigError: if the kernel asked for is not installed or cannot do it.
    """
    if name == "auto":
        loops = None
        if theta.shape[0] >= _NUMBA_ENTRIES and not _unfit("numba", theta, distribution):
            loops = numba_loops()
        if loops is not None:
            return NumbaKernel(loops)
        name = "numpy"
    refuse(name, _unfit(name, theta, distribution))
    if name == "numpy":
        return NumpyKernel(distribution)
    loops = numba_loops()
    if loops is None:
        raise not_installed(name)
    return NumbaKernel(loops)


def refuse(name: KernelName, problem: str) -> None:
    """Raise a `ConfigError` if there is a problem: what was expected and found."""
    if problem:
        raise ConfigError(f"kernel {name!r}: expected {problem}; or take kernel 'auto'")


def not_installed(name: KernelName) -> ConfigError:
    """Error for a kernel whose library is missing."""
    return ConfigError(
        f"kernel {name!r} needs the library {name!r}, which is not installed; run: {_INSTALL[name]}, or take "
        f"kernel 'auto'"
    )


def unfit_for_signs(theta: Array, distribution: Distribution) -> str:
    """Reason why a kernel of float32 and Rademacher directions cannot do it, or nothing."""
    if dtype_name(theta) != "float32":
        return f"float32 parameters, found {theta.dtype}"
    return "" if distribution == "rademacher" else f"rademacher directions, found {distribution}"


def _unfit(name: KernelName, theta: Array, distribution: Distribution) -> str:
    if name == "numba":
        return unfit_for_signs(theta, distribution)
    known = dtype_name(theta) in ("bfloat16", "float16", "float32", "float64")
    return "" if known else f"parameters of at most 64 bits, found {theta.dtype}"
