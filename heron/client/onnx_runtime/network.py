"""The arrays of an exported client and its passes, in micro-batches.

`B` examples of a batch, `b` of a micro-batch.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heron.arrays import Array, numpy_dtype, to_host
from heron.client.onnx_runtime.bundle import Bundle
from heron.client.onnx_runtime.manifest import CLEAN, PROBE, SLICE, ArrayTerm, Manifest
from heron.client.onnx_runtime.mapping import rows_of
from heron.client.onnx_runtime.scores import SlicedCrossEntropy, TokenLoss
from heron.client.onnx_runtime.session import Graph
from heron.client.onnx_runtime.tokens import check_tokens
from heron.data.batch import Batch
from heron.errors import MessageError

Arrays = dict[str, NDArray[Any]]
Piece = tuple[NDArray[Any], NDArray[Any], float]


class GraphNetwork:
    """Graphs of a client with the arrays that they compute with.

    Args:
        bundle: of the client.
        parameters: learning arrays by name; the graphs read them where they are.
        micro_batch: examples per forward pass; None for the whole batch.
        threads: CPU threads.

    Attributes:
        manifest: of the bundle.
        buffers: buffers that travel, by name.
        outputs: names of what the clean graph computes.
    """

    def __init__(
        self, bundle: Bundle, parameters: Mapping[str, NDArray[Any]], *, micro_batch: int | None, threads: int
    ) -> None:
        self.manifest = bundle.manifest
        self._micro_batch = micro_batch
        optimise = not _widens(bundle.manifest)
        self._clean = Graph(bundle.graphs[CLEAN], CLEAN, threads, optimise=optimise)
        self._probe: Graph | None = None
        if bundle.manifest.has(PROBE):
            self._probe = Graph(bundle.graphs[PROBE], PROBE, threads, optimise=optimise)
        self.buffers = zeros(bundle.manifest.buffers)
        self._held = {**bundle.frozen, **parameters, **self.buffers}
        self.outputs = self._clean.outputs
        self._moments = [f"{kind}/{layer.layer}" for layer in self.manifest.statistics for kind in ("mean", "variance")]
        self._scores: SlicedCrossEntropy | None = None
        unembedding, ignored = self.manifest.unembedding, self.manifest.ignored
        if unembedding is not None and ignored is not None:
            graph = Graph(bundle.graphs[SLICE], SLICE, threads)
            self._scores = SlicedCrossEntropy(graph, self._held[unembedding], ignored)
        self._check()

    def pieces(self, batch: Batch) -> Iterator[Piece]:
        """Yield micro-batches as (inputs, labels, weight of their mean in the batch's mean)."""
        inputs = _as(batch.inputs, self.manifest.inputs.dtype)
        labels = _as(batch.labels, self.manifest.upload.labels_dtype)
        check_tokens(self.manifest, inputs)
        size = self._micro_batch or len(batch)
        for start in range(0, len(batch), size):
            piece = labels[start : start + size]
            yield inputs[start : start + size], piece, share_of(piece, labels, self.manifest.ignored)

    def loss(self) -> "BatchLoss | TokenLoss":
        """Return an empty mean, to which the passes of micro-batches are added."""
        return BatchLoss() if self._scores is None else TokenLoss(self._scores)

    def clean(
        self, inputs: NDArray[Any], labels: NDArray[Any] | None, outputs: Sequence[str], *, follow: bool
    ) -> Arrays:
        """Run the clean graph on b examples.

        Args:
            inputs: shape (b, ...).
            labels: shape (b, ...); None where the graph has no loss.
            outputs: names of the values to return.
            follow: whether running statistics follow this pass.
        """
        wanted = [*outputs, *self._moments] if follow else [*outputs]
        found = dict(zip(wanted, self._clean.run(self._feed(inputs, labels), wanted), strict=True))
        if follow and self._moments:
            self._follow(found)
        return {name: found[name] for name in outputs}

    def edge(self, inputs: NDArray[Any], labels: NDArray[Any]) -> NDArray[Any]:
        """Compute activations at the order boundary, shape (b, ...), whether or not something below it probes."""
        if self._probe is not None:
            return self.probe(inputs)
        return self.clean(inputs, labels, ["edge"], follow=False)["edge"]

    def probe(self, inputs: NDArray[Any]) -> NDArray[Any]:
        """Compute activations at the order boundary, shape (b, ...)."""
        assert self._probe is not None  # the manifest was checked
        return self._probe.run(self._feed(inputs, None), ["edge"])[0]

    def load_buffers_(self, model: Mapping[str, Array]) -> None:
        """Copy every buffer from a received model.

        Raises:
            MessageError: if one is absent or has another shape.
        """
        take_(self.buffers, model, "buffer")

    def _check(self) -> None:
        """Refuse graphs of another client."""
        manifest = self.manifest
        outputs = ["smashed", *self._moments]
        if manifest.has_loss:
            outputs.append(self.loss().output)
        outputs += [f"gradient/{term.name}" for term in manifest.trained]
        if self._probe is not None or manifest.linear_head:
            outputs += ["edge", "delta"]
        if self._probe is not None:
            self._probe.check({"inputs", *self._held}, ["edge"])
        self._clean.check({"inputs", "labels", *self._held}, outputs)

    def _feed(self, inputs: NDArray[Any], labels: NDArray[Any] | None) -> Arrays:
        feed = {"inputs": inputs, **self._held}
        embedding = self.manifest.embedding
        if embedding is not None:
            tokens, places = np.unique(inputs, return_inverse=True)
            feed["inputs"] = places.reshape(inputs.shape).astype(inputs.dtype)
            feed[embedding] = rows_of(self._held[embedding], tokens)
        return feed if labels is None else feed | {"labels": labels}

    def _follow(self, found: Arrays) -> None:
        """Move running statistics to those of the batch, as BatchNorm in training mode does."""
        for layer in self.manifest.statistics:
            count = self.buffers.get(f"{layer.layer}.num_batches_tracked", np.zeros((), np.int64))
            count += 1
            share = np.float32(1 / int(count) if layer.momentum is None else layer.momentum)
            for kind, buffer in (("mean", "running_mean"), ("variance", "running_var")):
                held = self.buffers[f"{layer.layer}.{buffer}"]
                held *= 1 - share
                held += share * found[f"{kind}/{layer.layer}"]


class BatchLoss:
    """Mean loss of a batch from those of its micro-batches."""

    output = "loss"
    """Name of what the clean graph computes for it."""

    def __init__(self) -> None:
        self._total = np.zeros((), np.float64)

    def add(self, loss: NDArray[Any], labels: NDArray[Any], share: float) -> None:  # noqa: ARG002
        """Take a micro-batch.

        Args:
            loss: its mean, shape ().
            labels: not used.
            share: its weight in the batch's mean.
        """
        self._total = self._total + np.float64(loss) * share

    def mean(self) -> NDArray[Any]:
        """Return the mean so far, shape (), float32."""
        return np.asarray(self._total, np.float32)


def _widens(manifest: Manifest) -> bool:
    """Return whether a graph makes float32 matrices of narrower ones; tables are read row by row."""
    tables = {manifest.embedding, manifest.unembedding}
    return any(term.dtype != "float32" and len(term.shape) > 1 and term.name not in tables for term in manifest.frozen)


def zeros(terms: Sequence[ArrayTerm]) -> Arrays:
    """Make arrays of zeros by name."""
    return {term.name: np.zeros(term.shape, numpy_dtype(term.dtype)) for term in terms}


def take_(arrays: Arrays, model: Mapping[str, Array], kind: str) -> None:
    """Copy received arrays into one's own, by name.

    Args:
        arrays: written in place.
        model: what was received; it may hold more.
        kind: `buffer` or `parameter`, for messages.

    Raises:
        MessageError: if one is absent or has another shape.
    """
    for name, array in arrays.items():
        received = model.get(name)
        found = None if received is None else tuple(received.shape)
        if received is None or found != array.shape:
            raise MessageError(f"{kind} {name!r}: expected shape {array.shape}, found {found}")
        array[...] = to_host(received)


def share_of(part: NDArray[Any], whole: NDArray[Any], ignored: int | None) -> float:
    """Return the weight of a micro-batch's mean in the batch's: its share of the labels that count.

    Args:
        part: labels of the micro-batch.
        whole: labels of the batch.
        ignored: label that does not count; None where all do.
    """
    if len(part) == len(whole):
        return 1.0
    if ignored is None or np.issubdtype(part.dtype, np.floating):
        return len(part) / len(whole)
    counted = [int((labels != ignored).sum()) for labels in (part, whole)]
    return counted[0] / max(1, counted[1])


def _as(array: Array, dtype: str) -> NDArray[Any]:
    """Contiguous array of an element type; the same array where it is one."""
    return np.ascontiguousarray(to_host(array), numpy_dtype(dtype))
