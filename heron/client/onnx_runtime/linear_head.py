"""A linear head under cross-entropy that learns exactly, in NumPy: losses and gradients of single examples.

A graph computes the inputs h of the head, which a formula makes the rest of (`heron.client.torch_runtime.closed_form`):

    a = h W^T + b,   l = log sum exp a - a_y,   d l / d W = (softmax(a) - e_y) h^T,   d l / d b = softmax(a) - e_y

so that a private client needs no gradient from a graph.

`B` examples of a batch, `b` of a few, `D` features, `C` classes.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heron.arrays import Array, to_host
from heron.client.onnx_runtime.exact import GraphExactPart
from heron.data.batch import Batch

_EXAMPLE_VALUES = 1024


class LinearExactPart(GraphExactPart):
    """An exactly trained head of one linear layer: its weight and, where it has one, its bias."""

    def losses(self, batch: Batch) -> NDArray[Any]:
        """Compute the loss of every example at the present parameters below the head, shape (B,)."""
        found = []
        for inputs, labels, _ in self._network.pieces(batch):
            logits_BC = self._logits(self._network.edge(inputs, labels))
            counts_B, classes_B = self._classes(labels)
            with np.errstate(all="ignore"):  # an example that is not finite is left out by whoever clips it
                largest_B1 = logits_BC.max(1, keepdims=True)
                sums_B = np.log(np.exp(logits_BC - largest_B1).sum(1)) + largest_B1[:, 0]
                losses_B = sums_B - logits_BC[np.arange(len(labels)), classes_B]
            found.append(np.where(counts_B, losses_B, np.float32(0.0)))
        return np.concatenate(found)

    def example_gradients(self, batch: Batch) -> Iterator[NDArray[Any]]:
        """Yield the gradients of single examples, weight before bias, shape (b, C D + C), a few at a time.

        Args:
            batch: B examples, at least 1.
        """
        for inputs, labels, _ in self._network.pieces(batch):
            features_BD = self._network.edge(inputs, labels)
            logits_BC = self._logits(features_BD)
            counts_B, classes_B = self._classes(labels)
            with np.errstate(all="ignore"):  # as above
                delta_BC = np.exp(logits_BC - logits_BC.max(1, keepdims=True))
                delta_BC /= delta_BC.sum(1, keepdims=True)
            delta_BC[np.arange(len(labels)), classes_B] -= 1.0
            delta_BC[~counts_B] = 0.0
            number = max(1, _EXAMPLE_VALUES // self._weight.size)
            for start in range(0, len(labels), number):
                delta_bC, features_bD = delta_BC[start : start + number], features_BD[start : start + number]
                with np.errstate(all="ignore"):  # as above
                    outer_bV = (delta_bC[:, :, None] * features_bD[:, None, :]).reshape(len(delta_bC), -1)
                yield outer_bV if self._bias is None else np.concatenate([outer_bV, delta_bC], 1)

    def set_gradient(self, gradient: Array) -> None:
        """Set the gradient that `update` uses, weight before bias in one vector."""
        whole = to_host(gradient).astype(np.float32)
        stops = np.cumsum([array.size for array in self._parameters.values()])[:-1]
        parts = zip(self._parameters.items(), np.split(whole, stops), strict=True)
        self._keep({name: part.reshape(array.shape) for (name, array), part in parts})

    @property
    def _weight(self) -> NDArray[Any]:
        return next(iter(self._parameters.values()))

    @property
    def _bias(self) -> NDArray[Any] | None:
        return next((array for array in self._parameters.values() if array.ndim == 1), None)

    def _logits(self, features_BD: NDArray[Any]) -> NDArray[Any]:
        with np.errstate(all="ignore"):  # as above
            logits_BC: NDArray[Any] = features_BD @ self._weight.T
            return logits_BC if self._bias is None else logits_BC + self._bias

    def _classes(self, labels_B: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Return which labels count, and their classes; 0 in place of others."""
        counts_B = np.asarray(labels_B != self._network.manifest.ignored)
        return counts_B, np.where(counts_B, labels_B, 0).astype(np.int64)
