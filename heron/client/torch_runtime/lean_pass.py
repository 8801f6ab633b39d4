"""The clean pass of a layer group whose gradients are formulas (`lean_group`): no graph on a map.

`B` examples of a batch, `b` of a micro-batch.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from heron.arrays import Array
from heron.client.runtime import Finished
from heron.client.torch_runtime.closed_form import has_closed_form, linear_cross_entropy
from heron.client.torch_runtime.collector import Collector
from heron.client.torch_runtime.lean_group import LeanGroup, lean_backward, lean_forward
from heron.client.torch_runtime.network import LocalNetwork, TensorBatch
from heron.seeds import StepKey
from heron.split.criterion import scaled

if TYPE_CHECKING:
    from collections.abc import Callable


class LeanPass:
    """One clean forward; the backward pass of its last piece waits until its outputs have left.

    Args:
        local: the group's layers and its head.
        group: both, taken apart.
        batch: B examples.
        key: the step's place.
    """

    def __init__(self, local: LocalNetwork, group: LeanGroup, batch: TensorBatch, key: StepKey) -> None:
        self._local = local
        self._group = group
        self._losses: list[Tensor] = []
        self._waiting: list[Callable[[], None]] = []
        self._outputs = Collector(len(batch))
        with local.randomness(key.seed("dropout")):
            for inputs, labels, share in local.pieces(batch):
                if self._waiting:
                    self._waiting.pop()()
                self._losses.append(self._forward(inputs, labels, share))

    def take_smashed(self) -> Tensor:
        """Hand over the group's outputs, shape (B, ...)."""
        return self._outputs.take()

    def finish(self, gradient: Array | None = None) -> Finished:
        """Compute the gradients of the last piece."""
        assert gradient is None  # a group has a loss of its own
        self._waiting.pop()()
        return Finished(self._losses[0] if len(self._losses) == 1 else torch.stack(self._losses).sum())

    def _forward(self, inputs: Tensor, labels: Tensor, share: float | Tensor) -> Tensor:
        """Run a piece, and keep its backward pass for later; returns its share of the loss."""
        group, criterion = self._group, self._local.criterion
        outputs, features, kept = lean_forward(group, inputs)
        if group.pools_in_head or (not len(group.layers) and group.pool is None):
            self._outputs.add(outputs)
        elif not len(group.layers):
            self._outputs.add(features)
        del outputs
        flat = _flattened(group)
        if flat is not None and has_closed_form(flat, criterion.criterion) and labels.dim() == 1:
            shape, layer = features.shape, flat
            loss, head_backward = linear_cross_entropy(layer, features.flatten(1), labels, share, leaves_one_out=True)
            self._waiting.append(lambda: lean_backward(group, kept, head_backward().view(shape)))
            return loss
        leaf = features.detach().requires_grad_()
        with torch.enable_grad():
            later = group.layers(leaf)
            if len(group.layers):
                self._outputs.add(later)
            loss = scaled(criterion(group.head(later), labels), share)
        del later, features

        def backward() -> None:
            with self._local.backward_randomness():
                loss.backward()  # type: ignore[no-untyped-call]
            assert leaf.grad is not None  # the loss depends on it
            lean_backward(group, kept, leaf.grad)

        self._waiting.append(backward)
        return loss.detach()


def _flattened(group: LeanGroup) -> nn.Linear | None:
    """The only layer behind the features, if it is fully connected and given them flattened."""
    if len(group.layers) or not len(group.head):
        return None
    *before, last = group.head
    is_flat = all(type(layer) is nn.Flatten and (layer.start_dim, layer.end_dim) == (1, -1) for layer in before)
    return last if is_flat and type(last) is nn.Linear else None
