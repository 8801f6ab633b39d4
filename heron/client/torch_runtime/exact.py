"""The exactly trained part of a client in PyTorch: its parameters and update rule, and clean passes with a graph."""

from collections.abc import Collection, Iterator, Mapping

import torch
from torch import Tensor, nn

from heron.arrays import Array
from heron.client.runtime import Finished
from heron.client.torch_runtime.boundary import BoundaryPass
from heron.client.torch_runtime.closed_form import has_closed_form, linear_example_gradients
from heron.client.torch_runtime.example_gradients import example_gradients
from heron.client.torch_runtime.lean_group import lean_group
from heron.client.torch_runtime.lean_pass import LeanPass
from heron.client.torch_runtime.network import LocalNetwork, TensorBatch
from heron.data import Batch
from heron.seeds import StepKey
from heron.split import OrderBoundary
from heron.split.descent import Descent
from heron.tensors import as_tensor
from heron.zo.rules import OptimizerName


class LocalLossPass:
    """A clean pass and its local loss; the backward pass waits until smashed data have left, if the batch is one piece.

    Args:
        local: what the client holds.
        parameters: the trained ones.
        batch: B examples.
        key: the step's place.
    """

    def __init__(self, local: LocalNetwork, parameters: list[Tensor], batch: TensorBatch, key: StepKey) -> None:
        self._local = local
        self._parameters = parameters
        self._waits = local.micro_batch is None
        seed, each = key.seed("dropout"), None if self._waits else self._backward
        with torch.enable_grad():
            if local.uploads:
                smashed, self._loss = local.clean_pass(batch, seed, each)
                self._parcel = [smashed]
            else:
                self._loss = local.loss_pass(batch, seed, each)

    def take_smashed(self) -> Tensor:
        """Hand over the smashed data, shape (B, ...)."""
        return self._parcel.pop()

    def finish(self, gradient: Array | None = None) -> Finished:
        """Backpropagate the local loss."""
        assert gradient is None  # a client with a loss of its own
        if self._waits:
            self._backward(self._loss)
        return Finished(self._loss.detach())

    def _backward(self, loss: Tensor) -> None:
        with self._local.backward_randomness():
            loss.backward(inputs=self._parameters)  # type: ignore[no-untyped-call]


class CutGradientPass:
    """A forward pass of the client part that is backpropagated with the gradient at the cut.

    With micro-batches the forward pass is made twice, so that one micro-batch's activations are alive at a time;
    without, its graph waits for the gradient.

    Args:
        local: the client part.
        parameters: the trained ones.
        batch: B examples.
        key: the step's place.
    """

    def __init__(self, local: LocalNetwork, parameters: list[Tensor], batch: TensorBatch, key: StepKey) -> None:
        self._local = local
        self._parameters = parameters
        self._batch = batch
        self._seed = key.seed("dropout")
        if local.micro_batch is None:
            self._parcel, self._edge = local.graph_pass(batch, self._seed)
        else:
            with torch.no_grad():
                self._parcel = [local.smash_pass(batch, self._seed)]

    def take_smashed(self) -> Tensor:
        """Hand over the smashed data, shape (B, ...); none are held here while the gradient is on its way."""
        return self._parcel.pop()

    def finish(self, gradient: Array | None = None) -> Finished:
        """Backpropagate d loss / d z, shape (B, ...)."""
        assert gradient is not None  # a coupled round answers every upload
        delta = as_tensor(gradient)
        size = self._local.micro_batch
        if size is None:
            with self._local.backward_randomness():
                torch.autograd.backward(self._edge, delta, inputs=self._parameters)
            return Finished(None)
        with torch.enable_grad(), self._local.randomness(self._seed):
            pieces = zip(self._local.pieces(self._batch), torch.split(delta, size), strict=True)
            for (inputs, _, _), piece in pieces:
                torch.autograd.backward(self._local.smash(inputs), piece, inputs=self._parameters)
        return Finished(None)


class TorchExactPart:
    """Parameters that learn by backpropagation.

    Args:
        local: what the client holds.
        rule: update rule.
        trained: names of the parameters that are trained here.
        boundary: the client's chain, taken apart at its order boundary; None where there is none.
        probes: whether the part below the boundary learns from probes.
        lean: whether gradients are computed by formulas with few activations, where the client has the form for it.
    """

    def __init__(
        self,
        local: LocalNetwork,
        rule: OptimizerName,
        trained: Collection[str],
        *,
        boundary: OrderBoundary | None = None,
        probes: bool = False,
        lean: bool = False,
    ) -> None:
        self._local = local
        self._boundary = boundary
        self._lean = lean_group(local.module["client"], local.module["auxiliary"]) if lean else None
        self._probes = probes
        self._named = dict(local.module.named_parameters())
        self._parameters = {name: tensor for name, tensor in self._named.items() if name in trained}
        self._descent = Descent(self._parameters, rule)

    def forward(self, batch: Batch, key: StepKey) -> "LocalLossPass | CutGradientPass | BoundaryPass | LeanPass":
        """Run a clean pass; running statistics follow it."""
        return self.forward_tensors(self._local.tensors_of(batch), key)

    def forward_tensors(
        self, tensors: TensorBatch, key: StepKey
    ) -> "LocalLossPass | CutGradientPass | BoundaryPass | LeanPass":
        """Run a clean pass on a batch, or on a part of one with its share of the loss."""
        if self._boundary is not None:
            return BoundaryPass(self._local, self._boundary, tensors, key, probes=self._probes)
        if self._lean is not None and self._lean.in_training:
            return LeanPass(self._local, self._lean, tensors, key)
        parameters: list[Tensor] = list(self._parameters.values())
        kind = CutGradientPass if self._local.head is None else LocalLossPass
        return kind(self._local, parameters, tensors, key)

    def example_gradients(self, batch: Batch) -> Iterator[Tensor]:
        """Yield the gradients of single examples of the local loss, micro-batch by micro-batch, shape (b, D)."""
        tensors = self._local.tensors_of(batch)
        boundary, criterion = self._boundary, self._local.criterion.criterion
        if boundary is None or len(boundary.above) or not has_closed_form(boundary.head_above, criterion):
            yield from example_gradients(self._local, self._parameters, tensors)
            return
        (layer,) = boundary.head_above
        assert isinstance(layer, nn.Linear)  # has_closed_form has looked
        for inputs, labels, _ in self._local.pieces(tensors):
            with torch.no_grad():
                features = boundary.head_below(boundary.below(inputs))
            if features.dim() == 2 and labels.dim() == 1:  # labels may be probabilities, too
                yield from linear_example_gradients(layer, features, labels)
            else:
                yield from example_gradients(self._local, self._parameters, TensorBatch(inputs, labels))

    def set_gradient(self, gradient: Array) -> None:
        """Set the gradient that `update` uses, all parameters in one vector of shape (D,)."""
        parts = torch.split(as_tensor(gradient), [tensor.numel() for tensor in self._parameters.values()])
        for parameter, part in zip(self._parameters.values(), parts, strict=True):
            parameter.grad = part.to(parameter.device, parameter.dtype).view(parameter.shape)

    def update(self, learning_rate: float) -> None:
        """Take one step of the update rule and release the gradients."""
        self._descent.step(learning_rate)

    @torch.no_grad()
    def load(self, model: Mapping[str, Array], state: Mapping[str, Array]) -> None:
        """Copy parameters from a received model, those included that are not trained here; continue from `state`."""
        for name, parameter in self._named.items():
            if name in self._parameters or name in model:
                parameter.copy_(as_tensor(model[name]))
        self._descent.load_state({name: as_tensor(array) for name, array in state.items()})

    def parameters(self) -> dict[str, Tensor]:
        """Return the trained parameters by name."""
        return {name: parameter.detach() for name, parameter in self._parameters.items()}

    def state(self) -> dict[str, Tensor]:
        """Return the optimiser's tensors by parameter and entry."""
        return self._descent.state()
