"""Tensors that two modules share."""

from collections.abc import Hashable, Iterator

from torch import Tensor, nn

from heron.errors import SplitError
from heron.split.fakes import has_values


def check_disjoint(first_label: str, first: nn.Module, second_label: str, second: nn.Module) -> None:
    """Refuse a tensor that both modules contain and that may change: each side of a cut trains and keeps its own.

    Frozen parameters and buffers outside the state dict (constants of a layer) may be one tensor on both sides.

    Args:
        first_label: name of the first module in the error.
        first: a module.
        second_label: name of the second module in the error.
        second: another module.

    Raises:
        SplitError: with the name of the first such tensor on both sides.
    """
    held = {_identity(tensor): (name, changes) for name, tensor, changes in _tensors(first)}
    for name, tensor, changes in _tensors(second):
        other, other_changes = held.get(_identity(tensor), ("", False))
        if other and (changes or other_changes):
            raise SplitError(
                f"expected {first_label} and {second_label} without common parameters or buffers, found "
                f"{other!r} and {name!r} to be one tensor; untie them (copy.deepcopy one), freeze it, or cut elsewhere"
            )


def persistent_buffers(module: nn.Module) -> dict[str, Tensor]:
    """Buffers of the state dict by name: they change and travel, unlike constants of a layer."""
    buffers = dict(module.named_buffers())
    saved = module.state_dict(keep_vars=True).keys() if buffers else ()
    return {name: buffer for name, buffer in buffers.items() if name in saved}


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor, bool]]:
    """Each tensor of a module: its name, the tensor, and whether it may change."""
    for name, parameter in module.named_parameters(remove_duplicate=False):
        yield name, parameter, parameter.requires_grad
    saved = module.state_dict(keep_vars=True).keys()
    for name, buffer in module.named_buffers(remove_duplicate=False):
        yield name, buffer, name in saved


def _identity(tensor: Tensor) -> Hashable:
    """A tensor's address as its identity, because tying through `.data` makes two parameter objects of one memory."""
    if not has_values(tensor):
        return tensor.untyped_storage()._cdata, tensor.storage_offset()  # noqa: SLF001 - it has no other identity
    address = tensor.data_ptr()
    return (tensor.device, address) if address else id(tensor)
