"""The kernel compiled by Triton: Rademacher directions, float32, CUDA; on a CPU in Triton's interpreter, for tests."""

import os
from collections.abc import Sequence
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from heron.zo.kernel import AdamFactors, Terms

# A program takes so many words of signs.
_ROWS = 16


@cache
def triton_loops() -> ModuleType | None:
    """The programs, or None where Triton is not installed."""
    try:
        import heron.zo.triton_loops as loops
    except ImportError:
        return None
    return loops


def is_interpreted() -> bool:
    """Return whether Triton interprets programs, in NumPy, instead of compiling them."""
    return os.environ.get("TRITON_INTERPRET") == "1"


class TritonKernel:
    """Programs over words of signs; scales stay on the device.

    Args:
        loops: what `triton_loops` returns.
    """

    def __init__(self, loops: ModuleType) -> None:
        self._loops = loops

    def add_directions_(
        self, out: Tensor, base: Tensor, seeds: Sequence[int], scales_P: Tensor, *, copy_to: Tensor | None = None
    ) -> None:
        """See `Kernel`."""
        written = out if copy_to is None else copy_to
        terms = _terms([Terms(seeds, scales_P)])
        _run(self._loops.add_terms, (out, base, written), *terms, len(seeds), COPIES=copy_to is not None)

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
        scalars = _single(decay), _single(rate)
        _run(self._loops.momentum, (theta, work, velocity), *_terms(steps), _stops(steps, theta), len(steps), *scalars)

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
        scalars = (_single(scalar) for scalar in factors.scalars)
        of_steps = (
            torch.tensor(values, dtype=torch.float32, device=theta.device)
            for values in (factors.step_sizes, factors.root_scales)
        )
        tensors = theta, work, first, second
        _run(self._loops.adam, tensors, *_terms(steps), _stops(steps, theta), len(steps), *of_steps, *scalars)


def _terms(steps: Sequence[Terms[Tensor]]) -> tuple[Tensor, Tensor]:
    """Bit patterns of the seeds, and the scales, on the device."""
    scales = torch.cat([terms.scales_P.to(torch.float32) for terms in steps])
    seeds = np.array([seed for terms in steps for seed in terms.seeds], dtype=np.uint64)
    return torch.from_numpy(seeds.view(np.int64)).to(scales.device), scales


def _stops(steps: Sequence[Terms[Tensor]], theta: Tensor) -> Tensor:
    lengths = [0, *(len(terms.seeds) for terms in steps)]
    return torch.tensor(np.cumsum(lengths), dtype=torch.int32, device=theta.device)


def _single(number: float) -> float:
    """Rounded to float32 here: as the argument of a program a Python number would be, but that is Triton's choice."""
    return float(np.float32(number))


def _run(loop: Any, tensors: Sequence[Tensor], *arguments: Any, **constants: Any) -> None:
    size = tensors[0].numel()
    assert all(tensor.dtype == torch.float32 and tensor.shape == (size,) for tensor in tensors)
    assert all(tensor.is_contiguous() for tensor in tensors)
    grid = (-(-size // (64 * _ROWS)),)
    # No product and sum are fused: they are rounded each, as everywhere.
    loop[grid](*tensors, size, *arguments, ROWS=_ROWS, enable_fp_fusion=False, **constants)
