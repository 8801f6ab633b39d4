"""The exactly trained part of an exported client: its graph computes the gradients, NumPy takes the step."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heron.arrays import Array
from heron.client.onnx_runtime.descent import ArrayDescent
from heron.client.onnx_runtime.network import Arrays, GraphNetwork, take_
from heron.client.runtime import Finished, Surrogate
from heron.data.batch import Batch
from heron.seeds import StepKey
from heron.zo.rules import OptimizerName


class GraphPass:
    """A clean pass that has computed everything: smashed data, loss, gradients, and the surrogate's delta.

    Args:
        network: the client.
        trained: names of the exactly trained parameters.
        batch: B examples.
        keep: takes the gradients by name, for the update.
        probes: whether the part below the boundary learns, from the surrogate.
    """

    def __init__(
        self,
        network: GraphNetwork,
        trained: tuple[str, ...],
        batch: Batch,
        keep: Callable[[Arrays], None],
        *,
        probes: bool,
    ) -> None:
        self._network = network
        self._batch = batch
        self._probes = probes
        self._deltas: list[NDArray[Any]] = []
        self._loss = np.zeros((), np.float64)
        self._anchor = np.zeros((), np.float64)
        smashed: list[NDArray[Any]] = []
        gradients: Arrays = {}
        names = [f"gradient/{name}" for name in trained]
        outputs = ["smashed", "loss", *names, *(["edge", "delta"] if probes else [])]
        for inputs, labels, share in network.pieces(batch):
            found = network.clean(inputs, labels, outputs, follow=True)
            smashed.append(found["smashed"])
            self._loss = self._loss + np.float64(found["loss"]) * share
            for name, key in zip(trained, names, strict=True):
                piece = _times(found[key], share)
                gradients[name] = gradients[name] + piece if name in gradients else piece
            if probes:
                delta = _times(found["delta"], share)
                self._deltas.append(delta)
                self._anchor = self._anchor + inner(delta, found["edge"])
        self._parcel = [smashed[0] if len(smashed) == 1 else np.concatenate(smashed)]
        keep(gradients)

    def take_smashed(self) -> NDArray[Any]:
        """Hand over the smashed data, shape (B, ...)."""
        return self._parcel.pop()

    def finish(self, gradient: Array | None = None) -> Finished:
        """Return the loss and the surrogate; the gradients are there already."""
        assert gradient is None  # a client with a loss of its own
        return Finished(
            np.asarray(self._loss, np.float32), Surrogate(self._anchor, self._surrogate) if self._probes else None
        )

    def _surrogate(self) -> NDArray[Any]:
        """Compute <delta, f_below(x)> at the present parameters, shape ()."""
        total = np.zeros((), np.float64)
        for (inputs, _, _), delta in zip(self._network.pieces(self._batch), self._deltas, strict=True):
            total = total + inner(delta, self._network.probe(inputs))
        return total


class GraphExactPart:
    """Parameters that learn from the gradients of a graph.

    Args:
        network: the client.
        parameters: the trained arrays by name; changed in place.
        rule: update rule.
        probes: whether a part below learns from probes.
    """

    def __init__(self, network: GraphNetwork, parameters: Arrays, rule: OptimizerName, *, probes: bool) -> None:
        self._network = network
        self._parameters = parameters
        self._descent = ArrayDescent(parameters, rule)
        self._probes = probes
        self._gradients: Arrays = {}

    def forward(self, batch: Batch, key: StepKey) -> GraphPass:  # noqa: ARG002 - nothing is drawn in a graph
        """Run a clean pass; running statistics follow it."""
        return GraphPass(self._network, tuple(self._parameters), batch, self._keep, probes=self._probes)

    def update(self, learning_rate: float) -> None:
        """Take one step of the update rule and release the gradients."""
        self._descent.step(self._gradients, learning_rate)
        self._gradients = {}

    def load(self, model: Mapping[str, Array], state: Mapping[str, Array]) -> None:
        """Copy parameters from a received model, and continue from `state`.

        Raises:
            MessageError: if one is absent or has another shape.
        """
        take_(self._parameters, model, "parameter")
        self._descent.load_state(state)

    def parameters(self) -> Arrays:
        """Return the trained parameters by name."""
        return dict(self._parameters)

    def state(self) -> Arrays:
        """Return the optimiser's arrays by parameter and entry."""
        return self._descent.state()

    def _keep(self, gradients: Arrays) -> None:
        self._gradients = gradients


def _times(array: NDArray[Any], share: float) -> NDArray[Any]:
    """Multiply by a micro-batch's weight; the whole batch's is 1, and its array stays where it is."""
    return array if share == 1 else array * np.float32(share)


def inner(delta: NDArray[Any], outputs: NDArray[Any]) -> NDArray[Any]:
    """<delta, outputs>, shape (), summed over examples in float64, as `heron.client.torch_runtime.surrogate` does."""
    size = len(delta)
    rows = np.einsum("bi,bi->b", delta.reshape(size, -1), outputs.reshape(size, -1))
    return np.asarray(rows.sum(dtype=np.float64))
