"""Batches of examples from map-style data sets of torch.

`B` examples of a batch, `n` examples of a client or data set.
"""

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset, TensorDataset, default_collate

from heron.data.batch import Batch
from heron.data.sequences import TokenSequences
from heron.data.splits import Examples
from heron.errors import DataError
from heron.randomness import seeded_process
from heron.seeds import derive_seed
from heron.tensors import as_tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence, Sized

_NOT_SELECTED = (torch.uint16, torch.uint32, torch.uint64)  # torch indexes these, and has no index_select for them
_READ_AT_ONCE = 256  # examples, between which other threads may have the generators


def fetch(
    dataset: Examples, indices: np.ndarray, device: torch.device | None = None, *, seed: int | None = None
) -> Batch:
    """Load the examples at some positions as one batch.

    A data set may draw random numbers, to augment for example: what it draws from torch's, NumPy's and Python's
    generators is a function of the seed, and the generators are as before afterwards. Generator objects of its own are
    its own: they follow neither the seed nor a checkpoint.

    Labels of any integer type, or bool, become int64, as torch's losses need them.

    Args:
        dataset: map-style data set of (input, label) pairs; examples of `TokenSequences` are padded to one length.
        indices: positions, int64, shape (B,), B >= 1.
        device: device of the batch; None leaves the batch where it is.
        seed: seed of what the data set draws, in [0, 2**64); by default it depends on the first position alone.

    Returns:
        Inputs and labels, with the batch first.

    Raises:
        DataError: if items are not (input, label) pairs of tensors or numbers that can be stacked.
    """
    # The exact type: a subclass may augment or otherwise change what it returns.
    if type(dataset) is Subset:
        positions = np.array([dataset.indices[int(i)] for i in indices], dtype=np.int64)
        positions[positions < 0] += num_examples(dataset.dataset)
        return fetch(dataset.dataset, positions, device, seed=seed)
    if (tensors := _pair_of_tensors(dataset)) is not None:
        index = torch.from_numpy(indices)
        inputs, labels = (_rows(tensor, as_tensor(index, tensor.device)) for tensor in tensors)
    elif type(dataset) is TokenSequences:
        inputs, labels = dataset.batch(indices)
    else:
        place = device if device is not None and device.type == "cuda" else "cpu"
        with seeded_process(_seed_at(indices) if seed is None else seed, place):
            pairs = [pair_of(dataset[int(position)]) for position in indices]
        inputs = stacked([item for item, _ in pairs], "inputs")
        labels = stacked([label for _, label in pairs], "labels")
    if not (labels.dtype.is_floating_point or labels.dtype.is_complex):
        labels = labels.long()
    return Batch(as_tensor(inputs, device), as_tensor(labels, device))


def labels_of(dataset: Examples) -> np.ndarray:
    """Label of every example, shape (n,) if labels are numbers.

    Labels of `TokenSequences` have shape (n, T), padded to the longest, which suffices for partitions that only count.

    Raises:
        DataError: if the data set has no length, or items are not (input, label) pairs with labels that can be stacked.
    """
    if type(dataset) is Subset:
        return labels_of(dataset.dataset)[np.asarray(dataset.indices, dtype=np.int64)]
    if (tensors := _pair_of_tensors(dataset)) is not None:
        return host_labels(tensors[1])
    if type(dataset) is TokenSequences and len(dataset):
        return dataset.batch(np.arange(len(dataset)))[1].numpy()
    labels: list[Any] = []
    for_each(dataset, lambda _, __, label: labels.append(label))
    return host_labels(stacked(labels, "labels")) if labels else np.empty(0, dtype=np.int64)


def for_each(dataset: Examples, take: "Callable[[int, Any, Any], None]") -> None:
    """Read every example once; what a data set draws depends on positions alone.

    Args:
        dataset: map-style data set of (input, label) pairs.
        take: called with each position, input and label. One input is alive at a time if it keeps none, because a data
            set may be larger than memory.

    Raises:
        DataError: if the data set has no length, or items are not (input, label) pairs.
    """
    total = num_examples(dataset)
    for start in range(0, total, _READ_AT_ONCE):
        with seeded_process(_seed_at([start])):
            for position in range(start, min(start + _READ_AT_ONCE, total)):
                take(position, *pair_of(dataset[position]))


def num_examples(dataset: Examples) -> int:
    """Number of examples n.

    Raises:
        DataError: if the data set has no length.
    """
    try:
        return len(cast("Sized", dataset))
    except TypeError as error:
        raise DataError(
            f"expected a map-style data set with a length, found {type(dataset).__name__}; give it __len__"
        ) from error


def shape_of_example(dataset: Examples) -> torch.Size:
    """Shape of one input, without the batch dimension.

    Raises:
        DataError: if the data set is empty or its items are not (input, label) pairs.
    """
    if num_examples(dataset) == 0:
        raise DataError("expected a data set with at least one example, found an empty one; give it examples")
    return as_tensor(fetch(dataset, np.zeros(1, dtype=np.int64)).inputs).shape[1:]


def draws_nothing(dataset: Examples) -> bool:
    """Return whether reading a data set is known to draw no random numbers; one of a user's own may draw some."""
    if type(dataset) is Subset:
        return draws_nothing(dataset.dataset)
    return type(dataset) in (TensorDataset, TokenSequences)


def _seed_at(positions: "Sequence[int] | np.ndarray") -> int:
    return derive_seed("examples", int(positions[0]) if len(positions) else 0)


def _pair_of_tensors(dataset: Examples) -> tuple[Tensor, ...] | None:
    return dataset.tensors if type(dataset) is TensorDataset and len(dataset.tensors) == 2 else None


def _rows(tensor: Tensor, index: Tensor) -> Tensor:
    """Return the examples at some positions, in the tensor's own layout."""
    selects = tensor.is_contiguous() and tensor.dtype not in _NOT_SELECTED
    return tensor.index_select(0, index) if selects else tensor[index]


def host_labels(labels: Tensor) -> np.ndarray:
    """Labels as a NumPy array; bfloat16, which NumPy lacks, as float32."""
    labels = labels.float() if labels.dtype == torch.bfloat16 else labels
    return np.asarray(labels.cpu().numpy())


def pair_of(item: object) -> tuple[Any, Any]:
    """Take an item of a data set apart.

    Raises:
        DataError: if it is no (input, label) pair.
    """
    if isinstance(item, tuple | list) and len(item) == 2:
        return item[0], item[1]
    size = f" of length {len(item)}" if isinstance(item, tuple | list) else ""
    raise DataError(
        f"expected items (input, label), found {type(item).__name__}{size}; wrap the data set so that it returns pairs"
    )


def stacked(values: list[Any], what: str) -> Tensor:
    """Stack inputs or labels of items.

    Args:
        values: tensors of one shape, arrays or numbers.
        what: their name in an error.

    Raises:
        DataError: if there are none, or they do not stack.
    """
    if not values:
        raise DataError("expected at least one position to fetch, found none; ask for one or more examples")
    try:
        stacked = default_collate(values)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{what} do not stack: {reason}; return tensors of one shape, or numbers") from error
    if not isinstance(stacked, Tensor):
        raise DataError(f"expected {what} that stack, found {type(values[0]).__name__}; return tensors or numbers")
    return stacked
