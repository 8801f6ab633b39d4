"""Conversion between the two kinds of array, for code that works on either; torch is imported for tensors only."""

from typing import Any

from heron.arrays import Array, is_tensor, to_host


def to_kind_of(array: Array, other: Array) -> Any:
    """The same values and element type in an array of the kind and on the device of another one."""
    if not is_tensor(other):
        return to_host(array)
    from heron.tensors import as_tensor

    return as_tensor(array, other.device)
