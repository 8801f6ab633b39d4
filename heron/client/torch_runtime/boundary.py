"""The clean pass of a client with an order boundary: exact gradients above it, a linear surrogate below.

With r = f_below(x; v) and delta = d l / d r from the part above, the part below descends <delta, f_below(x; v)>, whose
gradient at the clean point is that of the loss (docs/methods.md). The part above caches its inputs, the part below
nothing. Where the part above is one linear layer under cross-entropy its gradient is a formula, and nothing in the
client needs autograd.

`B` examples of a batch, `b` of a micro-batch.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from heron.arrays import Array
from heron.client.runtime import Finished, Surrogate
from heron.client.torch_runtime.closed_form import has_closed_form, linear_cross_entropy
from heron.client.torch_runtime.collector import Collector
from heron.client.torch_runtime.network import LocalNetwork, TensorBatch
from heron.client.torch_runtime.surrogate import surrogate_loss
from heron.seeds import StepKey
from heron.split import OrderBoundary
from heron.split.criterion import scaled


class BoundaryPass:
    """One clean forward; the backward pass of its last piece waits until its smashed data have left.

    Args:
        local: client part, auxiliary network and local loss.
        boundary: the client's chain, taken apart.
        probes: whether the part below learns, from the surrogate.
        batch: B examples.
        key: the step's place; each piece has Dropout masks of its own.
    """

    def __init__(
        self, local: LocalNetwork, boundary: OrderBoundary, batch: TensorBatch, key: StepKey, *, probes: bool
    ) -> None:
        self._local = local
        self._boundary = boundary
        self._probes = probes
        self._batch = batch
        self._key = key
        self._has_formula = not len(boundary.above) and has_closed_form(boundary.head_above, local.criterion.criterion)
        self._losses: list[Tensor] = []
        self._anchors: list[Tensor] = []
        self._deltas: list[Tensor] = []
        self._waiting: list[tuple[Tensor, Callable[[], Tensor]]] = []
        self._smashed = Collector(len(batch))
        for index, (inputs, labels, share) in enumerate(local.pieces(batch)):
            if self._waiting:
                self._finish_piece(*self._waiting.pop())
            with torch.no_grad(), local.randomness_at(key, index):
                edge, loss, backward = self._clean_pass(inputs, labels, share)
            self._losses.append(loss)
            self._waiting.append((edge, backward))
            del edge, backward

    def take_smashed(self) -> Tensor:
        """Hand over the smashed data, shape (B, ...)."""
        return self._smashed.take()

    def finish(self, gradient: Array | None = None) -> Finished:
        """Backpropagate the last piece through the part above."""
        assert gradient is None  # a client with a loss of its own
        self._finish_piece(*self._waiting.pop())
        return Finished(_sum(self._losses), Surrogate(_sum(self._anchors), self._surrogate) if self._probes else None)

    def _surrogate(self) -> Tensor:
        """Compute L(v) at the module's present parameters; each piece with the Dropout masks of its clean pass."""
        return _sum([*self._surrogate_pieces()])

    def _finish_piece(self, edge: Tensor, backward: Callable[[], Tensor]) -> None:
        delta = backward()
        if self._probes:
            self._anchors.append(surrogate_loss(delta, edge))
            self._deltas.append(delta)

    def _surrogate_pieces(self) -> Iterator[Tensor]:
        pieces = zip(self._local.pieces(self._batch), self._deltas, strict=True)
        for index, ((inputs, _, _), delta) in enumerate(pieces):
            with self._local.randomness_at(self._key, index):
                yield surrogate_loss(delta, self._boundary.head_below(self._boundary.below(inputs)))

    def _clean_pass(
        self, inputs: Tensor, labels: Tensor, share: float | Tensor
    ) -> tuple[Tensor, Tensor, Callable[[], Tensor]]:
        """Return activations r at the boundary, the share of the loss, and the backward pass that returns delta."""
        parts, is_cut_above = self._boundary, len(self._boundary.above) > 0
        outputs: Tensor = parts.below(inputs)
        if not is_cut_above:
            if self._local.uploads:
                self._smashed.add(outputs)
            outputs = parts.head_below(outputs)
        if self._has_formula and outputs.dim() == 2 and labels.dim() == 1:  # labels may be probabilities, too
            (layer,) = parts.head_above
            assert isinstance(layer, nn.Linear)  # has_closed_form has looked
            return outputs, *linear_cross_entropy(layer, outputs, labels, share)
        boundary = outputs.detach().requires_grad_()
        with torch.enable_grad():
            above = self._local.run(parts.above, boundary) if is_cut_above else boundary
            if is_cut_above and self._local.uploads:
                self._smashed.add(above)
            loss = scaled(self._local.criterion(self._local.run(parts.head_above, above), labels), share)

        def backward() -> Tensor:
            with self._local.backward_randomness():
                loss.backward()  # type: ignore[no-untyped-call]
            assert boundary.grad is not None  # the loss depends on it
            return boundary.grad

        return outputs, loss.detach(), backward


def _sum(values: list[Tensor]) -> Tensor:
    """Sum the shares of micro-batches, shape ()."""
    return values[0] if len(values) == 1 else torch.stack(values).sum()
