"""A kernel of arrays for tensors of the CPU: they share their memory, so that nothing is copied.

Fake tensors, whose costs alone are asked for, have no memory to share: for them nothing is done, which costs a meter of
tensors what a kernel of arrays costs it.
"""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from heron.arrays import to_host
from heron.zo.kernel import AdamFactors, Kernel, Terms


class OnCpuTensors:
    """Passes views of the tensors' memory to a kernel of arrays.

    Args:
        kernel: the kernel of arrays; None for fake tensors.
    """

    def __init__(self, kernel: Kernel[NDArray[Any]] | None) -> None:
        self.kernel = kernel

    def add_directions_(
        self, out: Tensor, base: Tensor, seeds: Sequence[int], scales_P: Tensor, *, copy_to: Tensor | None = None
    ) -> None:
        """See `Kernel`."""
        if self.kernel is not None:
            copy = None if copy_to is None else to_host(copy_to)
            self.kernel.add_directions_(to_host(out), to_host(base), seeds, to_host(scales_P), copy_to=copy)

    def momentum_(
        self,
        theta: Tensor,
        work: Tensor,
        velocity: Tensor,
        steps: Sequence[Terms[Tensor]],
        *,
        decay: float,
        rate: float,
    ) -> None:
        """See `Kernel`."""
        if self.kernel is not None:
            arrays = to_host(theta), to_host(work), to_host(velocity)
            self.kernel.momentum_(*arrays, _on_host(steps), decay=decay, rate=rate)

    def adam_(
        self,
        theta: Tensor,
        work: Tensor,
        first: Tensor,
        second: Tensor,
        steps: Sequence[Terms[Tensor]],
        factors: AdamFactors,
    ) -> None:
        """See `Kernel`."""
        if self.kernel is not None:
            arrays = to_host(theta), to_host(work), to_host(first), to_host(second)
            self.kernel.adam_(*arrays, _on_host(steps), factors)


def _on_host(steps: Sequence[Terms[Tensor]]) -> list[Terms[NDArray[Any]]]:
    return [Terms(terms.seeds, to_host(terms.scales_P)) for terms in steps]
