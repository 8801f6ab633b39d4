"""Groups of named arrays as one flat dictionary, and back: the shape that a checkpoint file has."""

from collections.abc import Mapping
from typing import TypeVar

from heron.arrays import Array

A = TypeVar("A", bound=Array)
_SEPARATOR = "::"


def pack(groups: Mapping[str, Mapping[str, A]]) -> dict[str, A]:
    """`{"a": {"x": t}}` becomes `{"a::x": t}`."""
    return {f"{group}{_SEPARATOR}{name}": array for group, arrays in groups.items() for name, array in arrays.items()}


def unpack(arrays: Mapping[str, A]) -> dict[str, dict[str, A]]:
    """Inverse of `pack`; groups without arrays are absent."""
    groups: dict[str, dict[str, A]] = {}
    for key, array in arrays.items():
        group, _, name = key.partition(_SEPARATOR)
        groups.setdefault(group, {})[name] = array
    return groups
