"""The three splits every data set comes in, and how they are drawn."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from heron.zo import derive_seed

Examples = Dataset[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Splits:
    """Training, validation and test examples, each an (input, label) map-style data set.

    Attributes:
        train: shared out among the clients.
        validation: what tuning looks at; may be empty.
        test: read for reporting only.
        num_classes: C.
    """

    train: Examples
    validation: Examples
    test: Examples
    num_classes: int


def library_seed(domain: str, seed: int) -> int:
    """A seed for libraries that take 32 bits, derived from the run's seed."""
    return derive_seed(domain, seed) % 2**32


def stratified(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the larger and of the smaller part of a stratified split, both ascending.

    Args:
        labels: class of every example, shape (n,).
        share: share of the second part, in [0, 1).
        seed: 32-bit seed.
    """
    from sklearn.model_selection import train_test_split

    everyone = np.arange(len(labels))
    if share == 0:
        return everyone, everyone[:0]
    kept, held_out = train_test_split(everyone, test_size=share, stratify=labels, random_state=seed)
    return np.sort(kept), np.sort(held_out)


def take(inputs: Tensor, labels: Tensor, positions: np.ndarray) -> TensorDataset:
    """Examples at some positions."""
    index = torch.from_numpy(positions)
    return TensorDataset(inputs[index], labels[index])
