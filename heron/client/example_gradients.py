"""Gradients of single examples: the form of an exactly trained part where each example is clipped by itself.

`B` examples of a batch, `b` of a micro-batch, `D` values of all trained parameters.
"""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from heron.arrays import Array
from heron.data import Batch


@runtime_checkable
class ExampleGradients(Protocol):
    """An exact part whose gradients can be had example by example."""

    def example_gradients(self, batch: Batch) -> Iterator[Array]:
        """Yield the gradients of single examples of the local loss, micro-batch by micro-batch.

        Args:
            batch: B examples, at least 1.

        Yields:
            Arrays of shape (b, D), all parameters of an example in one row.
        """
        ...

    def set_gradient(self, gradient: Array) -> None:
        """Set the gradient that `ExactPart.update` uses.

        Args:
            gradient: all parameters in one vector, shape (D,).
        """
        ...
