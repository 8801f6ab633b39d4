"""A client's examples in a torch data set that stays where it is."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from heron.data import Batch, fetch


class DatasetExamples:
    """Some examples of a data set.

    Args:
        dataset: map-style data set of (input, label) pairs.
        indices: the client's positions in it, shape (n,).
        device: device of the batches.
    """

    def __init__(self, dataset: Dataset[tuple[Tensor, ...]], indices: NDArray[np.int64], device: torch.device) -> None:
        self._dataset = dataset
        self._indices = indices
        self._device = device

    def __len__(self) -> int:
        """Return the number of examples, n."""
        return len(self._indices)

    def batch(self, positions: NDArray[np.int64], seed: int) -> Batch:
        """Return examples at some positions, as tensors on the device; the seed is of what the data set draws."""
        return fetch(self._dataset, self._indices[positions], self._device, seed=seed)
