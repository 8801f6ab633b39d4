"""Arrays of either kind, NumPy's and torch's, for code that must not import torch.

NumPy 2 and torch agree on the names and meaning of many functions (`concat`, `stack`, `zeros_like`, `empty_like`):
`namespace(x)` is the module that has them for `x`.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard, Union

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

# Not `|`, which cannot name a class that is not imported.
Array: TypeAlias = Union[NDArray[Any], "Tensor"]
"""A NumPy array or a torch tensor."""


def is_tensor(x: object) -> "TypeGuard[Tensor]":
    """Return whether `x` is a torch tensor; a process without torch has none."""
    torch = sys.modules.get("torch")
    # A module that is only half imported has no such class yet.
    tensor_class = getattr(torch, "Tensor", None)
    return tensor_class is not None and isinstance(x, tensor_class)


def namespace(x: Array) -> ModuleType:
    """Module whose functions take arrays like `x`: `numpy` or `torch`."""
    return sys.modules["torch"] if is_tensor(x) else np


def to_host(x: Array) -> NDArray[Any]:
    """Contiguous NumPy array of the same values; it shares the memory of a contiguous array or tensor of the CPU.

    Args:
        x: array or tensor of any device; bfloat16 becomes `ml_dtypes.bfloat16`, bit for bit.

    Returns:
        Array of the same shape.

    Examples:
        >>> to_host(np.ones((2, 3))[:, 1]).shape
        (2,)
    """
    if not is_tensor(x):
        return np.asarray(x, order="C")
    # A lazily negated view holds the opposite of its values.
    tensor = x.detach().cpu().resolve_neg().contiguous()
    if dtype_name(tensor) != "bfloat16":
        return tensor.numpy()
    return tensor.view(sys.modules["torch"].int16).numpy().view(numpy_dtype("bfloat16"))


def plain(x: Array) -> Array:
    """Contiguous array without a gradient's history: of NumPy wherever the memory is the host's, else a tensor.

    Code that reads its arguments through this runs as NumPy on a CPU, whichever kind they are, and leaves nothing of a
    GPU's where it is not.
    """
    if is_tensor(x) and x.device.type != "cpu":
        return x.detach().contiguous()
    return to_host(x)


def dtype_name(x: Array) -> str:
    """Name of the element type, the same for both kinds: `"float32"`, `"bfloat16"`, `"int64"`, `"bool"`.

    Examples:
        >>> dtype_name(np.zeros(3, np.float16))
        'float16'
    """
    return name_of_dtype(x.dtype)


def name_of_dtype(dtype: Any) -> str:
    """Name of an element type of either kind, see `dtype_name`."""
    return str(dtype).removeprefix("torch.")


def numpy_dtype(name: str) -> np.dtype[Any]:
    """NumPy's element type of a name that `dtype_name` returns."""
    if name != "bfloat16":
        return np.dtype(name)
    from ml_dtypes import bfloat16

    dtype: np.dtype[Any] = np.dtype(bfloat16)
    return dtype


def arithmetic_dtype(x: Array) -> Any:
    """Element type in which arithmetic on floating `x` is done: float32 for narrower types, else that of `x`.

    Examples:
        >>> arithmetic_dtype(np.zeros(3, np.float16)) == np.float32
        True
    """
    return namespace(x).float32 if x.dtype.itemsize < 4 else x.dtype


def is_floating(x: Array) -> bool:
    """Return whether the elements are floating-point numbers, bfloat16 included."""
    if is_tensor(x):
        return x.is_floating_point()
    kind = np.asarray(x).dtype.kind
    return kind == "f" or (kind == "V" and "float" in dtype_name(x))  # names of types take long


def is_fake(x: Array) -> bool:
    """Return whether an array has a shape and a type alone: a tensor of torch's `FakeTensorMode`."""
    fakes = sys.modules.get("torch._subclasses.fake_tensor")
    return fakes is not None and isinstance(x, fakes.FakeTensor)


def copied(x: Array) -> Array:
    """Array of the same kind and values in memory of its own."""
    return x.detach().clone() if is_tensor(x) else np.array(x)
