"""A client's network as graphs that onnxruntime computes, with its parameters in NumPy: no PyTorch anywhere.

`B` examples of a batch.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from heron.arrays import Array, to_host
from heron.client.onnx_runtime.bundle import Bundle
from heron.client.onnx_runtime.exact import GraphExactPart, inner
from heron.client.onnx_runtime.linear_head import LinearExactPart
from heron.client.onnx_runtime.network import Arrays, GraphNetwork, zeros
from heron.data.batch import Batch
from heron.errors import ConfigError
from heron.wire.groups import Client
from heron.zo.flat import FlatArrays

if TYPE_CHECKING:
    from heron.client.runtime import ExactPart, GroupsPass, LayerGroup


class GraphParameters(FlatArrays[NDArray[Any]]):
    """Parameters that learn from probes, and the knowledge whether one is under way."""

    is_probing = False

    @contextmanager
    def probing(self) -> Iterator[None]:
        """Keep running statistics as they are while the losses of probes are computed."""
        self.is_probing = True
        try:
            yield
        finally:
            self.is_probing = False


class OnnxRuntime:
    """A client's network, its passes and its parameters in the orders in which they learn.

    Parameters and buffers are zeros until the first broadcast.

    Args:
        bundle: the exported client.
        client: the group `[client]`; update rule, kernel and micro-batch count here.
        threads: CPU threads.

    Attributes:
        manifest: of the bundle.
        theta: what learns from probes.
        exact: what learns from gradients.
        groups: always empty; a client of layer groups is not exported.
        groups_pass: always None.

    Raises:
        BundleError: if onnxruntime refuses a graph.
        MissingExtraError: if onnxruntime is not installed.
    """

    def __init__(self, bundle: Bundle, client: Client, *, threads: int = 1) -> None:
        manifest = bundle.manifest
        self.manifest = manifest
        self.theta: GraphParameters | None = None
        trained = zeros(manifest.trained)
        parameters: Arrays = dict(trained)
        if manifest.probed:
            self.theta = GraphParameters(zeros(manifest.probed), kernel=client.kernel)
            parameters |= self.theta.split(self.theta.work)
        micro_batch = client.micro_batch or None
        self._network = GraphNetwork(bundle, parameters, micro_batch=micro_batch, threads=threads)
        self.exact: ExactPart | None = None
        self.groups: tuple[LayerGroup, ...] = ()
        self.groups_pass: GroupsPass | None = None
        if trained:
            kind = LinearExactPart if manifest.linear_head else GraphExactPart
            self.exact = kind(self._network, trained, client.optimizer, probes=self.theta is not None)

    def clean(self, batch: Batch, seed: int) -> tuple[NDArray[Any], NDArray[Any]]:  # noqa: ARG002
        """Run a clean pass, which running statistics follow.

        Args:
            batch: B examples.
            seed: not used; an exported client draws nothing.

        Returns:
            Smashed data, shape (B, ...), and the local loss, shape ().
        """
        smashed, loss = [], self._network.loss()
        for inputs, labels, share in self._network.pieces(batch):
            found = self._network.clean(inputs, labels, ["smashed", loss.output], follow=True)
            smashed.append(found["smashed"])
            loss.add(found[loss.output], labels, share)
        return _joined(smashed), loss.mean()

    def smash(self, batch: Batch, seed: int) -> NDArray[Any]:  # noqa: ARG002
        """Compute smashed data, shape (B, ...). Arguments as of `Runtime`."""
        follow = self.theta is None or not self.theta.is_probing
        return _joined(
            [
                self._network.clean(inputs, labels, ["smashed"], follow=follow)["smashed"]
                for inputs, labels, _ in self._network.pieces(batch)
            ]
        )

    def loss(self, batch: Batch, seed: int) -> NDArray[Any]:  # noqa: ARG002
        """Compute the local loss, shape (). Arguments as of `Runtime`."""
        loss = self._network.loss()
        for inputs, labels, share in self._network.pieces(batch):
            found = self._network.clean(inputs, labels, [loss.output], follow=False)
            loss.add(found[loss.output], labels, share)
        return loss.mean()

    def losses(self, batch: Batch, seed: int) -> NDArray[Any]:  # noqa: ARG002
        """Compute the local loss of every example, shape (B,). Arguments as of `Runtime`.

        Raises:
            ConfigError: if the criterion of the export gave a mean alone.
        """
        if isinstance(self.exact, LinearExactPart):
            return self.exact.losses(batch)
        return self._by_example(batch, ["losses"], follow=False)[0]

    def clean_losses(self, batch: Batch, seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Run a clean pass for smashed data and the loss of every example. Arguments as of `Runtime`.

        Raises:
            ConfigError: if the criterion of the export gave a mean alone.
        """
        if isinstance(self.exact, LinearExactPart):
            return self.smash(batch, seed), self.exact.losses(batch)
        smashed, losses = self._by_example(batch, ["smashed", "losses"], follow=True)
        return smashed, losses

    def _by_example(self, batch: Batch, names: Sequence[str], *, follow: bool) -> list[NDArray[Any]]:
        """Compute outputs of the clean graph, losses of single examples among them."""
        if "losses" not in self._network.outputs:
            raise ConfigError(
                "expected a bundle with the losses of single examples, found one whose criterion gives a mean alone; "
                "export it with a criterion that takes reduction='none'"
            )
        found = [
            self._network.clean(inputs, labels, names, follow=follow)
            for inputs, labels, _ in self._network.pieces(batch)
        ]
        return [_joined([piece[name] for piece in found]) for name in names]

    def anchor(self, delta: Array, smashed: Array) -> NDArray[Any]:
        """Compute <delta, z>, shape (), float64. Arguments as of `Runtime`."""
        return inner(to_host(delta), to_host(smashed))

    def surrogate(self, batch: Batch, seed: int, delta: Array) -> NDArray[Any]:
        """Compute <delta, f_c(x)> at the present parameters, shape (), float64. Arguments as of `Runtime`."""
        return inner(to_host(delta), self.smash(batch, seed))

    def receive(self, array: Array) -> NDArray[Any]:
        """Return a NumPy array."""
        return to_host(array)

    def buffers(self) -> Mapping[str, NDArray[Any]]:
        """Return the buffers that travel, by name."""
        return self._network.buffers

    def load_buffers_(self, model: Mapping[str, Array]) -> None:
        """Copy every buffer from a received model.

        Raises:
            MessageError: if one is absent or has another shape.
        """
        self._network.load_buffers_(model)

    def tensors(self) -> Mapping[str, NDArray[Any]]:
        """Return parameters and buffers by name; the arrays themselves."""
        probed = {} if self.theta is None else self.theta.split(self.theta.work)
        exact = {} if self.exact is None else self.exact.parameters()
        return {**probed, **{name: to_host(array) for name, array in exact.items()}, **self.buffers()}

    def resident(self) -> Mapping[str, Sequence[Array]]:
        """Return what is held between steps: one copy of the parameters, buffers, state of the exact part's rule."""
        exact = {} if self.exact is None else self.exact.parameters()
        return {
            "parameters": [*exact.values(), *([] if self.theta is None else [self.theta.work])],
            "buffers": list(self.buffers().values()),
            "optimizer_state": [] if self.exact is None else list(self.exact.state().values()),
        }


def _joined(pieces: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
