"""A client with an order boundary: exact gradients above it, zeroth order on a linear surrogate below.

With r = f_below(x; v) and delta = d l / d r from the part above, which is trained exactly, the part below descends

    L(v) = <delta, f_below(x; v)>,    grad L(v) = grad_v l   at the clean point,

by probes that run f_below alone: a step costs one forward, the backward pass of the part above, and q forwards of the
part below. The part above caches its inputs, the part below nothing. This is HO-SFL's surrogate (arXiv 2603.14773)
inside the client, with the auxiliary loss in place of the server's (docs/methods.md, "Order boundary and surrogate").
"""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from heron.client.closed_form import has_closed_form, linear_cross_entropy
from heron.client.first_order import FirstOrderClient
from heron.client.local import Collector, LocalNetwork
from heron.client.step import ClientState, StepGenerator, StepKey, StepResult
from heron.client.surrogate import surrogate_loss
from heron.client.zeroth_order import ZerothOrderPart
from heron.data import Batch
from heron.split import OrderBoundary
from heron.wire.learning import Learning

_BELOW = "below/"


class BoundaryClient(FirstOrderClient):
    """Exact above the boundary, zeroth order below; without an estimator the part below stays as it is.

    Where the part above is one linear layer under cross-entropy its gradient is a formula, and nothing in the client
    needs autograd.

    Args:
        local: client part, auxiliary network and local loss.
        learning: update rule, learning rates and estimator.
        boundary: the client's chain, taken apart.
    """

    def __init__(self, local: LocalNetwork, learning: Learning, boundary: OrderBoundary) -> None:
        below = {id(parameter) for parameter in boundary.below.parameters()}
        names = {name for name, parameter in local.module.named_parameters() if id(parameter) in below}
        super().__init__(local, learning.exact_part(), trained=lambda name: name not in names)
        self._boundary = boundary
        self._has_formula = not len(boundary.above) and has_closed_form(boundary.head_above, local.criterion)
        self._below = ZerothOrderPart(local.module, learning, only=names) if learning.estimator.probes else None

    def load(self, model: Mapping[str, Tensor], state: ClientState) -> None:
        """Parameters, buffers and optimiser states of both parts."""
        names = self._below.model().keys() if self._below else ()
        if self._below:
            kept = {key.removeprefix(_BELOW): tensor for key, tensor in state.items() if key.startswith(_BELOW)}
            self._below.load({name: tensor for name, tensor in model.items() if name in names}, kept)
        super().load(
            {name: tensor for name, tensor in model.items() if name not in names},
            {key: tensor for key, tensor in state.items() if not key.startswith(_BELOW)},
        )

    def step(self, batch: Batch, key: StepKey) -> StepGenerator:
        """One clean forward, the backward pass above the boundary, then the probes below it."""
        smashed, losses = Collector(batch), []
        deltas: list[Tensor] = []
        anchors: list[Tensor] = []

        def finish_piece(boundary: Tensor, backward: Callable[[], Tensor]) -> None:
            delta = backward()
            if self._below:
                anchors.append(surrogate_loss(delta, boundary))
                deltas.append(delta)

        waiting: list[tuple[Tensor, Callable[[], Tensor]]] = []
        for index, (inputs, labels, share) in enumerate(self._local.pieces(batch)):
            if waiting:
                finish_piece(*waiting.pop())
            with torch.no_grad(), self._local.randomness(key.seed("dropout", index)):
                boundary, loss, backward = self._clean_pass(inputs, labels, share, smashed)
            losses.append(loss)
            waiting.append((boundary, backward))
            del boundary, backward
        yield smashed.take()
        # The last piece's backward pass waits until its smashed data has left.
        finish_piece(*waiting.pop())
        self._update(key)
        if self._below:
            self._below.learn(lambda: self._surrogate(batch, deltas, key), torch.stack(anchors).sum(), key)
        return StepResult(torch.stack(losses).sum(), self._below.sent() if self._below else None)

    def model(self) -> dict[str, Tensor]:
        """What is trained, and the buffers."""
        return (self._below.model() if self._below else {}) | super().model()

    def replayed(self) -> tuple[str, ...]:
        """Names of what learns from probes where scalars tell how it changes."""
        return self._below.replayed() if self._below else ()

    def state(self) -> ClientState:
        """Optimiser states of both parts, or nothing where every round starts afresh."""
        above = super().state()
        if not self._below or not self._learning.client.keep_state:
            return above
        return above | {f"{_BELOW}{name}": tensor for name, tensor in self._below.state().items()}

    def resident(self) -> dict[str, list[Tensor]]:
        """Both copies of what learns from probes, one of the rest."""
        resident = super().resident()
        if self._below:
            theta, moments = self._below.resident()
            resident["parameters"].append(theta)
            resident["optimizer_state"] += moments
        return resident

    def _clean_pass(
        self, inputs: Tensor, labels: Tensor, share: float | Tensor, smashed: Collector
    ) -> tuple[Tensor, Tensor, Callable[[], Tensor]]:
        """Of b examples: activations r at the boundary, share of the loss, and the backward pass that returns delta."""
        parts = self._boundary
        outputs: Tensor = parts.below(inputs)
        if not len(parts.above):
            smashed.add(outputs)
            outputs = parts.head_below(outputs)
        if self._has_formula and outputs.dim() == 2 and labels.dim() == 1:  # labels may be probabilities, too
            (layer,) = parts.head_above
            assert isinstance(layer, nn.Linear)  # what has_closed_form says
            return outputs, *linear_cross_entropy(layer, outputs, labels, share)
        boundary = outputs.detach().requires_grad_()
        with torch.enable_grad():
            outputs = self._local.run(parts.above, boundary)
            if len(parts.above):
                smashed.add(outputs)
            loss = self._local.criterion(self._local.run(parts.head_above, outputs), labels) * share

        def backward() -> Tensor:
            loss.backward()  # type: ignore[no-untyped-call]
            assert boundary.grad is not None  # the loss depends on it
            return boundary.grad

        return boundary.detach(), loss.detach(), backward

    def _surrogate(self, batch: Batch, deltas: list[Tensor], key: StepKey) -> Tensor:
        """L(v) at the module's present parameters; each piece with the Dropout masks of its clean pass."""
        return torch.stack([*self._surrogate_pieces(batch, deltas, key)]).sum()

    def _surrogate_pieces(self, batch: Batch, deltas: list[Tensor], key: StepKey) -> Iterator[Tensor]:
        pieces = zip(self._local.pieces(batch), deltas, strict=True)
        for index, ((inputs, _, _), delta) in enumerate(pieces):
            with self._local.randomness(key.seed("dropout", index)):
                yield surrogate_loss(delta, self._boundary.head_below(self._boundary.below(inputs)))
