"""Smashed data of a batch, collected from its micro-batches.

`B` examples of a batch, `b` of a micro-batch.
"""

from torch import Tensor


class Collector:
    """Joins the smashed data of micro-batches in a buffer made once, so that it is never held twice.

    Args:
        num_examples: B.
    """

    def __init__(self, num_examples: int) -> None:
        self._num_examples = num_examples
        self._filled = 0
        self._smashed: Tensor | None = None

    def add(self, piece: Tensor) -> None:
        """Take the smashed data of the next b examples."""
        piece = piece.detach()
        if len(piece) == self._num_examples:
            self._smashed = piece
            return
        if self._smashed is None:
            self._smashed = piece.new_empty((self._num_examples, *piece.shape[1:]))
        self._smashed[self._filled : self._filled + len(piece)] = piece
        self._filled += len(piece)

    def take(self) -> Tensor:
        """Hand over the smashed data of all B examples; they are not held here any longer."""
        assert self._smashed is not None  # every batch has been through add
        smashed, self._smashed = self._smashed, None
        return smashed
