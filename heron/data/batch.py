"""The examples of one local step, as arrays of either kind; imports no torch."""

from dataclasses import dataclass

from heron.arrays import Array

IGNORED = -100
"""Label of a position that does not count; the one that `torch.nn.functional.cross_entropy` ignores by default."""


@dataclass(frozen=True)
class Batch:
    """Examples of one local step: NumPy arrays or tensors, whatever the client's runtime has.

    Attributes:
        inputs: shape (B, ...).
        labels: shape (B, ...).
    """

    inputs: Array
    labels: Array

    def __len__(self) -> int:
        """Number of examples, B."""
        return len(self.labels)
