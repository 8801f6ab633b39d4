"""One clean pass through all layer groups of a client, a micro-batch after the other.

Groups that learn exactly need each other's outputs at the parameters before the step alone, so a micro-batch can go
through all of them before the next one: no map between two groups is held for the whole batch, as it is where one group
learns after the other. Gradients of all groups add up until the last micro-batch has passed; they are the same bits.

`B` examples of a batch, `b` of a micro-batch.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from heron.arrays import Array
from heron.client.runtime import ExactPass, Finished
from heron.client.torch_runtime.collector import Collector
from heron.client.torch_runtime.network import LocalNetwork, TensorBatch
from heron.data import Batch
from heron.seeds import StepKey, derive_seed
from heron.tensors import as_tensor


class ExactGroup(Protocol):
    """The exactly trained part of a layer group."""

    def forward_tensors(self, tensors: TensorBatch, key: StepKey) -> ExactPass:
        """Run a clean pass on a part of a batch."""
        ...


class PassThroughGroups:
    """One clean forward; the backward pass of the last piece in the last group waits until its outputs have left.

    Args:
        local: the client's network; it divides batches.
        groups: the exact parts of its layer groups, from the input up.
        batch: B examples.
        keys: the step's place for each group; each piece has Dropout masks of its own.
    """

    def __init__(
        self, local: LocalNetwork, groups: Sequence[ExactGroup], batch: Batch, keys: Sequence[StepKey]
    ) -> None:
        self._losses: list[Tensor] = []
        self._waiting: list[ExactPass] = []
        tensors = local.tensors_of(batch)
        self._smashed = Collector(len(tensors))
        for index, (inputs, labels, share) in enumerate(local.pieces(tensors)):
            if self._waiting:
                self._finish_piece()
            piece = TensorBatch(inputs, labels, share)
            for group, key in zip(groups, keys, strict=True):
                clean = group.forward_tensors(piece, _key_of_piece(index, key))
                piece = TensorBatch(as_tensor(clean.take_smashed()), labels, share)
                if group is not groups[-1]:
                    clean.finish()
            self._smashed.add(piece.inputs)
            self._waiting.append(clean)
            del piece, clean

    def take_smashed(self) -> Tensor:
        """Hand over the last group's outputs, shape (B, ...)."""
        return self._smashed.take()

    def finish(self, gradient: Array | None = None) -> Finished:
        """Compute the gradients of the last piece in the last group."""
        assert gradient is None  # a group has a loss of its own
        self._finish_piece()
        return Finished(self._losses[0] if len(self._losses) == 1 else torch.stack(self._losses).sum())

    def _finish_piece(self) -> None:
        loss = self._waiting.pop().finish().loss
        assert loss is not None  # a group has a loss of its own
        self._losses.append(as_tensor(loss))


def _key_of_piece(index: int, key: StepKey) -> StepKey:
    return key if index == 0 else replace(key, run_seed=derive_seed("micro-batch", key.run_seed, index) >> 1)
