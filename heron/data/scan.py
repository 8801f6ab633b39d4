"""One look at every example of a data set: its labels, and the examples that are most likely not to fit a network.

`n` examples of a data set.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset, TensorDataset

from heron.data.batches import for_each, host_labels, stacked
from heron.data.sequences import TokenSequences
from heron.data.splits import Examples

_AT_ONCE = 1024


@dataclass(frozen=True)
class Scan:
    """Result of a scan.

    Attributes:
        labels: label of every example, shape (n, ...); as `labels_of` returns them.
        unusual: positions of a few examples whose inputs are extreme: the first with a value that is not finite, those
            with the smallest and the largest of integer inputs such as tokens.
    """

    labels: np.ndarray
    unusual: tuple[int, ...]


def _is_stored(dataset: Examples) -> bool:
    """Return whether the examples are tensors in memory, so that a scan reads nothing and computes nothing."""
    if type(dataset) is Subset:
        return _is_stored(dataset.dataset)
    return type(dataset) is TokenSequences or (type(dataset) is TensorDataset and len(dataset.tensors) == 2)


def scan(dataset: Examples) -> Scan:
    """Look at every example once; one input is alive at a time if they are not in memory.

    Args:
        dataset: map-style data set of (input, label) pairs.

    Raises:
        DataError: if the data set has no length, or items are not (input, label) pairs with labels that can be stacked.
    """
    if _is_stored(dataset):
        inputs, labels = _stored(dataset, None)
        found = _Unusual()
        for start in range(0, len(inputs), _AT_ONCE):
            found.add(start, inputs[start : start + _AT_ONCE])
        return Scan(host_labels(labels), found.positions())
    found, kept = _Unusual(), []

    def take(position: int, example: Any, label: Any) -> None:
        kept.append(label)
        if isinstance(example, np.ndarray) and example.dtype.kind in "iuf":
            example = torch.from_numpy(example)
        if isinstance(example, Tensor):
            found.add(position, example[None])

    for_each(dataset, take)
    labels_n = host_labels(stacked(kept, "labels")) if kept else np.empty(0, dtype=np.int64)
    return Scan(labels_n, found.positions())


def _stored(dataset: Examples, positions: np.ndarray | None) -> tuple[Tensor, Tensor]:
    """All inputs and labels of stored examples, or those at some positions."""
    if type(dataset) is Subset:
        indices = np.asarray(dataset.indices, dtype=np.int64)
        return _stored(dataset.dataset, indices if positions is None else indices[positions])
    if type(dataset) is TokenSequences:
        chosen = np.arange(len(dataset)) if positions is None else positions
        return dataset.batch(chosen) if len(chosen) else (torch.empty(0), torch.empty(0, dtype=torch.int64))
    assert type(dataset) is TensorDataset
    inputs, labels = dataset.tensors
    return (inputs, labels) if positions is None else (inputs[torch.from_numpy(positions)], labels[positions])


class _Unusual:
    """Running extremes of inputs."""

    def __init__(self) -> None:
        self._not_finite: int | None = None
        self._smallest: tuple[int, int] | None = None
        self._largest: tuple[int, int] | None = None

    def add(self, start: int, inputs: Tensor) -> None:
        """Look at inputs of shape (b, ...), the examples from position `start`."""
        if inputs.numel() == 0 or inputs.dtype in (torch.bool, torch.uint16, torch.uint32, torch.uint64):
            return
        if inputs.dtype.is_floating_point:
            # A sum that is finite has finite terms, and needs no room.
            if self._not_finite is None and not bool(inputs.sum().isfinite()):
                fits = inputs.reshape(len(inputs), -1).isfinite().all(1)
                self._not_finite = None if bool(fits.all()) else start + int((~fits).nonzero()[0])
        elif not inputs.dtype.is_complex:
            rows = inputs.reshape(len(inputs), -1)
            least, most = rows.amin(1), rows.amax(1)
            # The first of equal ones.
            self._smallest = min(filter(None, (self._smallest, _at(least, int(least.argmin()), start))), key=_value)
            self._largest = max(filter(None, (self._largest, _at(most, int(most.argmax()), start))), key=_value)

    def positions(self) -> tuple[int, ...]:
        """Return the positions found, each once."""
        extremes = [found[1] for found in (self._smallest, self._largest) if found is not None]
        return tuple(dict.fromkeys([*([] if self._not_finite is None else [self._not_finite]), *extremes]))


def _at(values: Tensor, row: int, start: int) -> tuple[int, int]:
    return int(values[row]), start + row


def _value(found: tuple[int, int]) -> int:
    return found[0]
