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
    # Fake tensors stand for real ones whose costs are asked for; operations of torch are what can be asked.
    if name == "torch" or isinstance(theta, FakeTensor):
        return TorchKernel(distribution)
    if name == "auto":
        return _fastest(theta, distribution)
    refuse(name, _unfit(name, theta, distribution))
    if name != "triton":
        return OnCpuTensors(array_kernel(name, theta, distribution))
    loops = triton_loops()
    if loops is None:
        raise not_installed(name)
    return TritonKernel(loops)


def _fastest(theta: Tensor, distribution: Distribution) -> Kernel[Tensor]:
    if theta.device.type == "cuda" and not _unfit("triton", theta, distribution):
        loops = triton_loops()
        return TorchKernel(distribution) if loops is None else TritonKernel(loops)
    # Gaussian entries of NumPy and of torch differ in a last bit here and there; signs do not.
    signs = distribution == "rademacher" and theta.element_size() >= 4
    if theta.device.type == "cpu" and signs:
        return OnCpuTensors(array_kernel("auto", theta, distribution))
    return TorchKernel(distribution)


def _unfit(name: KernelName, theta: Tensor, distribution: Distribution) -> str:
    """Reason why the kernel cannot do it, or nothing."""
    devices = ("cpu",) if name != "triton" else ("cuda", "cpu") if is_interpreted() else ("cuda",)
    if theta.device.type not in devices:
        return f"parameters on {devices[0]}, found them on {theta.device.type}"
    return unfit_for_signs(theta, distribution) if name == "triton" else ""
