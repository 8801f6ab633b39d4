"""The resolution of parameters: the smallest change that a probe can make to them in their element type."""

import warnings
from collections.abc import Iterable

import torch
from torch import Tensor

from heron.arrays import arithmetic_dtype

# A warning tells if a larger share of the parameters than this is not moved by probes.
_UNMOVED = 0.1


@torch.no_grad()
def warn_of_radius(
    parameters: Iterable[Tensor], mu: float, *, dtype: torch.dtype | None = None, stacklevel: int = 2
) -> None:
    """Warn of a smoothing radius that rounds off in more than a tenth of the parameters.

    Args:
        parameters: what is probed, of one floating dtype.
        mu: smoothing radius.
        dtype: element type that layers see; that of the parameters by default.
        stacklevel: frame that the warning names, as for `warnings.warn`; 1 is the caller of this function.
    """
    tensors = [parameter for parameter in parameters if parameter.numel()]
    seen = tensors[0].dtype if dtype is None else dtype
    num_unmoved = sum(int((_moved(tensor, mu).to(seen) == tensor.to(seen)).sum()) for tensor in tensors)
    num_parameters = sum(tensor.numel() for tensor in tensors)
    if num_unmoved > _UNMOVED * num_parameters:
        largest = max(float(tensor.abs().max()) for tensor in tensors)
        warnings.warn(
            f"expected a smoothing radius that moves the parameters, found mu={mu:g}, which rounds off in "
            f"{num_unmoved} of {num_parameters} in {seen}; raise mu to {torch.finfo(seen).eps * largest:.1e}, which "
            f"moves all of them, or train in a wider type",
            stacklevel=stacklevel + 2,  # this function, and the decorator around it
        )


def _moved(tensor: Tensor, mu: float) -> Tensor:
    return (tensor.to(arithmetic_dtype(tensor)) + mu).to(tensor.dtype)
