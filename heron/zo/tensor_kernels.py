"""The choice of a kernel for tensors: kernels of arrays see the memory of a CPU, torch and Triton do the rest."""

from torch import Tensor
from torch._subclasses import FakeTensor

from heron.zo.cpu_tensors import OnCpuTensors
from heron.zo.kernel import Kernel
from heron.zo.kernels import KernelName, array_kernel, not_installed, refuse, unfit_for_signs
from heron.zo.stream import Distribution
from heron.zo.torch_kernel import TorchKernel
from heron.zo.triton_kernel import TritonKernel, is_interpreted, triton_loops


def choose_tensor_kernel(name: KernelName, theta: Tensor, distribution: Distribution) -> Kernel[Tensor]:
    """Choose the kernel for passes over `theta` and tensors like it.

    Args:
        name: the kernel to take, or `"auto"`.
        theta: flat parameters.
        distribution: distribution of the directions.

    Raises:
        ConfigError: if the kernel asked for is not installed, or cannot do it.
    """
    if name == "torch":
        return TorchKernel(distribution)
    if name == "auto" and not _fits_arrays(theta, distribution):
        return _with_operations(theta, distribution)
    if name == "triton":
        refuse(name, _unfit_for_triton(theta, distribution))
        loops = triton_loops()
        if loops is None:
            raise not_installed(name)
        return TritonKernel(loops)
    if theta.device.type != "cpu":
        refuse(name, f"parameters on cpu, found them on {theta.device.type}")
    return OnCpuTensors(None if isinstance(theta, FakeTensor) else array_kernel(name, theta, distribution))


def _fits_arrays(theta: Tensor, distribution: Distribution) -> bool:
    """Return whether a kernel of arrays has the bits of torch's.

    Gaussian entries of NumPy and of torch differ in a last bit here and there; signs do not.
    """
    return theta.device.type == "cpu" and theta.element_size() >= 4 and distribution == "rademacher"


def _with_operations(theta: Tensor, distribution: Distribution) -> Kernel[Tensor]:
    """Triton's kernel on a GPU, else torch's; fake tensors, whose costs are asked for, have torch's operations."""
    loops = None
    if theta.device.type == "cuda" and not isinstance(theta, FakeTensor) and not _unfit_for_triton(theta, distribution):
        loops = triton_loops()
    return TorchKernel(distribution) if loops is None else TritonKernel(loops)


def _unfit_for_triton(theta: Tensor, distribution: Distribution) -> str:
    """Reason why Triton's kernel cannot do it, or nothing."""
    devices = ("cuda", "cpu") if is_interpreted() else ("cuda",)
    if theta.device.type not in devices:
        return f"parameters on cuda, found them on {theta.device.type}"
    return unfit_for_signs(theta, distribution)
