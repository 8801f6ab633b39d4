"""The three splits of every data set, and how they are drawn."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from heron.errors import DataError
from heron.seeds import derive_seed

Examples = Dataset[tuple[Tensor, ...]]
"""A map-style data set of pairs (input, label) of tensors."""


@dataclass(frozen=True)
class Splits:
    """Training, validation and test examples, each an (input, label) map-style data set.

    Attributes:
        train: examples that are partitioned among the clients.
        validation: examples for tuning; may be empty.
        test: examples that are used for reporting only.
        num_classes: C; labels are in [0, C). For token sequences, one more than the largest token found.
        groups: natural owner of each training example, integers of shape (n,), for partition `natural`; None if the
            data have none.
    """

    train: Examples
    validation: Examples
    test: Examples
    num_classes: int
    groups: np.ndarray | None = None


def library_seed(domain: str, seed: int) -> int:
    """Derive a seed for libraries that take 32 bits.

    Args:
        domain: purpose of the seed.
        seed: a run's seed, or a result of `derive_seed`: in [-2**63, 2**64).

    Returns:
        An integer in [0, 2**32).
    """
    # The fields of `derive_seed` are signed, its results are not: reinterpret the upper half as two's complement.
    signed = seed - 2**64 if seed >= 2**63 else seed
    return derive_seed(domain, signed) % 2**32


def stratified(
    labels: np.ndarray, share: float, seed: int, *, key: str = "data.validation"
) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the two parts of a stratified split, both ascending.

    Args:
        labels: class of every example, shape (n,).
        share: share of the second part, in [0, 1); 0 leaves it empty.
        seed: 32-bit seed.
        key: of the share, for errors.

    Returns:
        Positions of the first and of the second part; disjoint, and all of them together.

    Raises:
        DataError: if the share is out of range, or so small or large that a class would be missing from a part.
    """
    if not 0 <= share < 1:
        raise DataError(f"expected {key} in [0, 1), found {share}; set it in that range")
    if share == 0:
        return np.arange(len(labels)), np.arange(0)
    _, class_n, sizes_C = np.unique(labels, return_inverse=True, return_counts=True)
    num_held_out = math.ceil(float(share) * len(labels))
    num_kept = len(labels) - num_held_out
    if (sizes_C < 2).any() or min(num_kept, num_held_out) < max(len(sizes_C), 1):
        raise DataError(
            f"a share of {share} of {len(labels)} examples does not split every class; change {key} (0 for an "
            f"empty part) or use more examples"
        )
    generator = np.random.RandomState(seed)
    kept_C = _apportioned(sizes_C, num_kept, generator)
    held_out_C = _apportioned(sizes_C - kept_C, num_held_out, generator)
    kept, held_out = [], []
    for label, (size, num_first, num_second) in enumerate(zip(sizes_C, kept_C, held_out_C, strict=True)):
        members = np.flatnonzero(class_n == label)[generator.permutation(size)]
        kept.append(members[:num_first])
        held_out.append(members[num_first : num_first + num_second])
    return np.sort(np.concatenate(kept)), np.sort(np.concatenate(held_out))


def _apportioned(sizes_C: NDArray[Any], total: int, generator: np.random.RandomState) -> NDArray[Any]:
    """Share `total` examples out among classes in proportion to their sizes; the largest remainders get one more each.

    Equal remainders draw lots. The order of the draws is that of scikit-learn's stratified splits.
    """
    exact_C = sizes_C / sizes_C.sum() * total
    shares_C = np.floor(exact_C)
    missing = int(total - shares_C.sum())
    remainders_C = exact_C - shares_C
    for remainder in np.unique(remainders_C)[::-1]:
        if missing <= 0:
            break
        (alike,) = np.nonzero(remainders_C == remainder)
        chosen = generator.choice(alike, size=min(len(alike), missing), replace=False)
        shares_C[chosen] += 1
        missing -= len(chosen)
    shares: NDArray[Any] = shares_C.astype(np.int64)
    return shares


def check_limits(**limits: int) -> None:
    """Refuse limits that are no number of examples.

    Raises:
        DataError: if a limit is less than 0; 0 stands for all examples.
    """
    for name, limit in limits.items():
        if limit < 0:
            raise DataError(f"expected a {name} of at least 0, found {limit}; raise it, or use 0 for all examples")


def take(inputs: Tensor, labels: Tensor, positions: np.ndarray) -> TensorDataset:
    """The examples at some positions, as a data set."""
    index = torch.from_numpy(positions)
    return TensorDataset(inputs[index], labels[index])
