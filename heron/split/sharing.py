"""Tensors that two modules both hold."""

from collections.abc import Hashable, Iterator
from itertools import chain

from torch import Tensor, nn

from heron.errors import SplitError
from heron.split.fakes import has_values


def check_disjoint(first_label: str, first: nn.Module, second_label: str, second: nn.Module) -> None:
    """Refuse a parameter or buffer that both modules hold: each side of a cut trains and keeps its own.

    Args:
        first_label: what to call the first module.
        first: a module.
        second_label: what to call the second module.
        second: another module.

    Raises:
        SplitError: naming the first such tensor on both sides.
    """
    names = {_identity(tensor): name for name, tensor in _tensors(first)}
    for name, tensor in _tensors(second):
        if _identity(tensor) in names:
            raise SplitError(
                f"expected {first_label} and {second_label} without common parameters or buffers, found "
                f"{names[_identity(tensor)]!r} and {name!r} to be one tensor; untie them (copy.deepcopy one) or cut "
                f"elsewhere"
            )


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    return chain(module.named_parameters(remove_duplicate=False), module.named_buffers(remove_duplicate=False))


def _identity(tensor: Tensor) -> Hashable:
    """By address, because tying through `.data` makes two parameter objects of one memory."""
    if not has_values(tensor):
        return tensor.untyped_storage()._cdata, tensor.storage_offset()  # noqa: SLF001 - it has no other identity
    address = tensor.data_ptr()
    return (tensor.device, address) if address else id(tensor)
