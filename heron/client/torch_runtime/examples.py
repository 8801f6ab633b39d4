"""A client's examples in a torch data set that stays where it is."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from heron.data import Batch, fetch
from heron.data.batches import draws_nothing
from heron.seeds import derive_seed
from heron.tensors import as_tensor


class DatasetExamples:
    """Some examples of a data set.

    Args:
        dataset: map-style data set of (input, label) pairs.
        indices: the client's positions in it, shape (n,).
        device: device of the batches.
        apart: whether what the data set draws for an example, e.g. to augment it, shall not depend on the others of its
            batch; the examples of a batch are then read one by one, if the data set may draw anything.
    """

    def __init__(
        self,
        dataset: Dataset[tuple[Tensor, ...]],
        indices: NDArray[np.int64],
        device: torch.device,
        *,
        apart: bool = False,
    ) -> None:
        self._dataset = dataset
        self._indices = indices
        self._device = device
        self._apart = apart and not draws_nothing(dataset)

    def __len__(self) -> int:
        """Return the number of examples, n."""
        return len(self._indices)

    def batch(self, positions: NDArray[np.int64], seed: int) -> Batch:
        """Return examples at some positions, as tensors on the device; the seed is of what the data set draws."""
        indices = self._indices[positions]
        if not len(indices):
            return Batch(torch.empty(0), torch.empty(0))
        if not self._apart:
            return fetch(self._dataset, indices, self._device, seed=seed)
        each = [self._alone(int(index), seed) for index in indices]
        inputs, labels = ([as_tensor(getattr(one, name)) for one in each] for name in ("inputs", "labels"))
        return Batch(torch.cat(inputs), torch.cat(labels))

    def _alone(self, index: int, seed: int) -> Batch:
        own = derive_seed("one example", seed >> 1, index)  # fields are signed
        return fetch(self._dataset, np.array([index], dtype=np.int64), self._device, seed=own)
