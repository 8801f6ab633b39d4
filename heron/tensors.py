"""Conversion of NumPy arrays to torch tensors; `heron.arrays.to_host` is the inverse."""

import numpy as np
import torch
from torch import Tensor

from heron.arrays import Array, dtype_name


def as_tensor(array: Array, device: torch.device | str | None = None) -> Tensor:
    """Tensor of the same values; on a CPU it shares the array's memory.

    Args:
        array: NumPy array, possibly of type `ml_dtypes.bfloat16`, or a tensor. An array is copied if it is read-only or
            has a layout that tensors do not support.
        device: device of the result; by default the tensor's own, the CPU for an array.

    Returns:
        Tensor of the same shape and element type.

    Examples:
        >>> as_tensor(np.array([1.0, 2.0]))
        tensor([1., 2.], dtype=torch.float64)
    """
    if isinstance(array, Tensor):
        tensor = array
    else:
        values = np.asarray(array)
        if not (values.flags.writeable and values.flags.aligned and min(values.strides, default=0) >= 0):
            values = values.copy()
        if values.dtype.isbuiltin != 1 and dtype_name(values) == "bfloat16":  # names of types take long
            tensor = torch.from_numpy(values.view(np.int16)).view(torch.bfloat16)
        else:
            tensor = torch.from_numpy(values)
    return tensor if device is None or tensor.device == device else tensor.to(device)
