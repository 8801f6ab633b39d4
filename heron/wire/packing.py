"""Groups of named tensors as one flat dictionary, and back: the shape a checkpoint file has."""

from collections.abc import Mapping

from torch import Tensor

_SEPARATOR = "::"


def pack(groups: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """`{"a": {"x": t}}` becomes `{"a::x": t}`."""
    return {
        f"{group}{_SEPARATOR}{name}": tensor for group, tensors in groups.items() for name, tensor in tensors.items()
    }


def unpack(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Inverse of `pack`; groups without tensors are absent."""
    groups: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        group, _, name = key.partition(_SEPARATOR)
        groups.setdefault(group, {})[name] = tensor
    return groups
