"""The loss of a language model, whose scores of all tokens never exist at once.

The scores of a position are the products of its hidden state with one row per token. They are computed for a slice of
the vocabulary at a time, and the logarithm of the sum of their exponentials is carried along in float64 (after Milakov
and Gimelshein, "Online normalizer calculation for softmax", arXiv 1805.02867).

`b` examples of a micro-batch, `T` positions, `D` features, `V` tokens of the vocabulary, `N` counted positions.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from heron.client.onnx_runtime.mapping import forget
from heron.client.onnx_runtime.session import Graph
from heron.errors import DataError

_NUM_SCORES = 1 << 19
"""Scores that exist at a time, 2 MiB; more do not pay."""
_MIN_ROWS = 256
_NUM_POSITIONS = 1 << 10
"""Positions whose hidden states are collected before they are scored: each sweep reads the whole table."""
_OUTPUTS = ("largest", "closest", "own")


class SlicedCrossEntropy:
    """Cross-entropy of hidden states and labels.

    Args:
        graph: one slice: (hidden, rows, places) -> (largest score, minus the logarithm of the sum of exponentials
            relative to it, score at a place).
        unembedding_VD: one row per token, in the form that the graph takes; it is read where it is.
        ignored: label of a position that does not count.

    Attributes:
        ignored: the same.
        num_tokens: V.

    Raises:
        BundleError: if the graph is another one.
    """

    def __init__(self, graph: Graph, unembedding_VD: NDArray[Any], ignored: int) -> None:
        graph.check({"hidden", "rows", "places"}, _OUTPUTS)
        self._graph = graph
        self._table_VD = unembedding_VD
        self.ignored = ignored
        self.num_tokens = len(unembedding_VD)

    def total(self, hidden_ND: NDArray[Any], labels_N: NDArray[Any]) -> Any:
        """Sum the losses of positions, float64.

        Args:
            hidden_ND: hidden states, float32, N >= 1.
            labels_N: the token that follows each, in [0, V).
        """
        sums_N, own_N = np.full(len(labels_N), -np.inf), np.zeros(len(labels_N), np.float32)
        # At least two slices, so that the comparison of an export with PyTorch sees how one follows another.
        num_rows = min(max(_MIN_ROWS, _NUM_SCORES // len(labels_N)), -(-self.num_tokens // 2))
        for start in range(0, self.num_tokens, num_rows):
            rows_SD = self._table_VD[start : start + num_rows]
            places_N = labels_N - start
            inside_N = (places_N >= 0) & (places_N < len(rows_SD))
            feed = {"hidden": hidden_ND, "rows": rows_SD, "places": np.where(inside_N, places_N, 0)}
            largest_N, closest_N, found_N = self._graph.run(feed, _OUTPUTS)
            np.logaddexp(sums_N, largest_N - closest_N.astype(np.float64), out=sums_N)
            own_N[inside_N] = found_N[inside_N]
            forget(rows_SD)  # of a mapped table, one slice at a time is in memory
        return (sums_N - own_N).sum()


class TokenLoss:
    """Mean loss of a batch over the positions that count, of which alone the scores are computed; 0 where none does.

    Args:
        scores: of the language model.
    """

    output = "hidden"
    """Name of what the clean graph computes for it."""

    def __init__(self, scores: SlicedCrossEntropy) -> None:
        self._scores = scores
        self._waiting: list[tuple[NDArray[Any], NDArray[Any]]] = []
        self._total = np.zeros((), np.float64)
        self._num_counted = self._num_waiting = 0

    def add(self, hidden_bTD: NDArray[Any], labels_bT: NDArray[Any], share: float) -> None:  # noqa: ARG002
        """Take a micro-batch.

        Args:
            hidden_bTD: hidden states, float32.
            labels_bT: the token that follows each position, in [0, V), or a label that does not count.
            share: not used; positions are counted here.

        Raises:
            DataError: if a label is no token.
        """
        labels, ignored, num_tokens = labels_bT.reshape(-1), self._scores.ignored, self._scores.num_tokens
        counted = np.flatnonzero(labels != ignored)
        if not counted.size:
            return
        labels_N = labels[counted]
        if labels_N.min() < 0 or labels_N.max() >= num_tokens:
            raise DataError(
                f"expected labels in [0, {num_tokens}) or {ignored}, found {labels_N.min()} to {labels_N.max()}; "
                f"check the tokenizer"
            )
        self._waiting.append((hidden_bTD.reshape(-1, hidden_bTD.shape[-1])[counted], labels_N))
        self._num_counted += len(labels_N)
        self._num_waiting += len(labels_N)
        if self._num_waiting >= _NUM_POSITIONS:
            self._score()

    def mean(self) -> NDArray[Any]:
        """Return the mean so far, shape (), float64, because probes measure differences of such means."""
        if self._waiting:
            self._score()
        return np.asarray(self._total / max(1, self._num_counted))

    def _score(self) -> None:
        hidden, labels = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
        self._waiting, self._num_waiting = [], 0
        self._total = self._total + self._scores.total(hidden, labels)
