"""Refusal of what is no map-style data set, before anything is read from it."""

from collections.abc import Mapping

from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from heron.errors import DataError


def check_map_style(name: str, data: object) -> None:
    """Refuse data that have no positions, or no number of them: clients draw batches of their own by position.

    Any object with `__len__` and `__getitem__` will do, a list of pairs for example.

    Args:
        name: name of the argument in errors.
        data: what was given as a data set of (input, label) pairs.

    Raises:
        DataError: with what to give in place of it.
    """
    advice = _advice(data)
    if advice:
        raise DataError(
            f"{name}: expected a map-style data set of (input, label) pairs, with __len__ and __getitem__, found "
            f"{_kind(data)}; {advice}"
        )


def _advice(data: object) -> str:
    """What to do instead; empty if there is no need."""
    if isinstance(data, DataLoader):
        return "give the data set of the loader, loader.dataset: clients draw batches of their own"
    if isinstance(data, IterableDataset):
        return "make it map-style, e.g. list(data) if its items fit into memory"
    if isinstance(data, Tensor) or (isinstance(data, tuple | list) and any(isinstance(item, Tensor) for item in data)):
        return "write torch.utils.data.TensorDataset(inputs, labels)"
    if isinstance(data, type):
        return f"make one: {data.__name__}(...)"
    has_length = callable(getattr(type(data), "__len__", None))
    has_items = callable(getattr(type(data), "__getitem__", None))
    if isinstance(data, Dataset) and type(data).__getitem__ is Dataset.__getitem__:
        has_items = False
    if isinstance(data, Mapping | str | bytes) or not (has_length and has_items):
        return "write a torch.utils.data.Dataset with both, or TensorDataset(inputs, labels)"
    return ""


def _kind(data: object) -> str:
    if isinstance(data, type):
        return f"the class {data.__name__}"
    name = type(data).__name__
    if isinstance(data, tuple | list) and data:
        return f"a {name} of {type(data[0]).__name__}"
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}" if data is not None else "None"
