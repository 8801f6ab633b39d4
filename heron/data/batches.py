"""Batches of a client's examples, in an order that depends on a seed alone.

`B` examples of a batch.
"""

from collections.abc import Iterator, Sized
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset, TensorDataset, default_collate

from heron.data.splits import Examples
from heron.errors import DataError


@dataclass(frozen=True)
class Batch:
    """Examples of one local step.

    Attributes:
        inputs: shape (B, ...).
        labels: shape (B, ...).
    """

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        """B."""
        return len(self.labels)


def batch_indices(num_examples: int, batch_size: int, num_steps: int | None, seed: int) -> Iterator[np.ndarray]:
    """Positions of the examples of each local step: shuffled passes, cut into batches.

    Args:
        num_examples: n, >= 1.
        batch_size: B, >= 1; the last batch of a pass may be smaller.
        num_steps: number of batches, newly shuffled passes following one another; None for exactly one pass.
        seed: the order is a function of it; callers derive it from (run seed, client, round).

    Yields:
        Positions in [0, n), shape (B,) or less.
    """
    generator = np.random.default_rng(seed)
    served = 0
    while num_steps is None or served < num_steps:
        order = generator.permutation(num_examples)
        for start in range(0, num_examples, batch_size):
            if served == num_steps:
                return
            yield order[start : start + batch_size]
            served += 1
        if num_steps is None:
            return


def num_local_steps(num_examples: int, batch_size: int, num_steps: int | None) -> int:
    """How many batches `batch_indices` yields."""
    return -(-num_examples // batch_size) if num_steps is None else num_steps


def fetch(dataset: Examples, indices: np.ndarray, device: torch.device | None = None) -> Batch:
    """Examples at some positions as one batch.

    Args:
        dataset: map-style data set of (input, label) pairs.
        indices: positions, shape (B,).
        device: where the batch goes; None leaves it where it is.

    Raises:
        DataError: if items are not (input, label) pairs of tensors or numbers that stack.
    """
    if isinstance(dataset, TensorDataset) and len(dataset.tensors) == 2:
        index = torch.from_numpy(indices)
        inputs, labels = (tensor[index.to(tensor.device)] for tensor in dataset.tensors)
    else:
        inputs, labels = _collate(dataset, indices)
    return Batch(inputs, labels) if device is None else Batch(inputs.to(device), labels.to(device))


def labels_of(dataset: Examples) -> np.ndarray:
    """The label of every example, shape (n,).

    Raises:
        DataError: if items are not (input, label) pairs.
    """
    if isinstance(dataset, TensorDataset) and len(dataset.tensors) == 2:
        return np.asarray(dataset.tensors[1].cpu().numpy())
    if isinstance(dataset, Subset):
        return labels_of(dataset.dataset)[np.asarray(dataset.indices, dtype=np.int64)]
    return _collate(dataset, np.arange(num_examples(dataset)), labels_only=True)[1].numpy()


def num_examples(dataset: Examples) -> int:
    """Number of examples n.

    Raises:
        DataError: if the data set has no length.
    """
    try:
        return len(cast("Sized", dataset))
    except TypeError as error:
        raise DataError(f"expected a map-style data set with a length, found {type(dataset).__name__}") from error


def _collate(dataset: Examples, indices: np.ndarray, *, labels_only: bool = False) -> tuple[Tensor, Tensor]:
    try:
        items = [dataset[int(position)] for position in indices]
        pairs = [(0 if labels_only else item[0], item[1]) for item in items if len(item) == 2]
        inputs, labels = default_collate(pairs) if len(pairs) == len(items) else (None, None)
    except (TypeError, IndexError, KeyError, RuntimeError) as error:
        raise DataError(f"expected items (input, label) that stack into a batch: {error}") from error
    if not (isinstance(inputs, Tensor) and isinstance(labels, Tensor)):
        raise DataError(f"expected items (input tensor, label), found {type(items[0]).__name__} items of other shape")
    return inputs, labels
