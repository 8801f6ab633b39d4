"""Tensors without values: those of torch's `FakeTensorMode` have a shape, a dtype and a storage size, no memory."""

from torch import Tensor
from torch._subclasses import FakeTensor


def has_values(tensor: Tensor) -> bool:
    """Whether a tensor can be read; a fake one can only be computed with."""
    return not isinstance(tensor, FakeTensor)
