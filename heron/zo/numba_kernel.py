"""The kernel compiled by numba: Rademacher directions, float32, CPU.

Entries are computed each on its own, so results do not depend on how they are shared among threads. The threads are
plain ones that live for a call: numba's own pools must not be entered from two threads at once, and one more OpenMP
would spin beside torch's.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from heron.zo.kernel import AdamFactors, Terms

_WORD = 64
# A thread takes so many words at a time, about half a millisecond.
_BLOCK_WORDS = 1 << 13
# What is written and will have left the caches before it is read goes past them, from this many entries on.
_STREAM_ENTRIES = 1 << 22
_STREAM_ALIGNMENT = 32


@cache
def numba_loops() -> ModuleType | None:
    """The compiled loops, or None where numba is not installed."""
    try:
        import heron.zo.numba_loops as loops
    except ImportError:
        return None
    return loops


class NumbaKernel:
    """Loops over words of signs.

    Args:
        loops: what `numba_loops` returns.
    """

    def __init__(self, loops: ModuleType) -> None:
        self._loops = loops

    def add_directions_(
        self, out: Tensor, base: Tensor, seeds: Sequence[int], scales_P: Tensor, *, copy_to: Tensor | None = None
    ) -> None:
        """See `Kernel`."""
        written = out if copy_to is None else copy_to
        streams = _streams(written) and written.data_ptr() != base.data_ptr()
        terms = _terms([Terms(seeds, scales_P)])
        _run(self._loops.add_terms, (out, base, written), streams, terms, copy_to is not None)

    def momentum_(
        self, theta: Tensor, work: Tensor, velocity: Tensor, steps: Sequence[Terms], *, decay: float, rate: float
    ) -> None:
        """See `Kernel`."""
        scalars = np.float32(decay), np.float32(rate)
        _run(self._loops.momentum, (theta, work, velocity), _streams(work), _terms(steps), _stops(steps), scalars)

    def adam_(
        self, theta: Tensor, work: Tensor, first: Tensor, second: Tensor, steps: Sequence[Terms], factors: AdamFactors
    ) -> None:
        """See `Kernel`."""
        beta1, beta2 = factors.beta1, factors.beta2
        scalars = tuple(np.float32(scalar) for scalar in (beta1, 1.0 - beta1, beta2, 1.0 - beta2, factors.epsilon))
        of_steps = np.array(factors.step_sizes, np.float32), np.array(factors.root_scales, np.float32)
        tensors = theta, work, first, second
        _run(self._loops.adam, tensors, _streams(work), _terms(steps), _stops(steps), (scalars, *of_steps))


def _terms(steps: Sequence[Terms]) -> tuple[Any, Any, Any]:
    """Seeds, the bits of the scales, and the bits in which `-1 * scale` differs: the sign, but for NaN."""
    seeds = np.array([seed for terms in steps for seed in terms.seeds], dtype=np.uint64)
    scales = torch.cat([terms.scales_P.to(torch.float32) for terms in steps])
    plus, minus = scales.numpy().view(np.uint32), (scales * -1.0).numpy().view(np.uint32)
    return seeds, plus, plus ^ minus


def _stops(steps: Sequence[Terms]) -> Any:
    return np.cumsum([0, *(len(terms.seeds) for terms in steps)])


def _streams(written: Tensor) -> bool:
    return written.numel() >= _STREAM_ENTRIES and written.data_ptr() % _STREAM_ALIGNMENT == 0


def _run(loop: Callable[..., None], tensors: Sequence[Tensor], streams: bool, *arguments: Any) -> None:
    """Call a loop for all words of the tensors, the last one, if it is not full, in copies of 64 entries."""
    size = tensors[0].numel()
    assert all(tensor.dtype == torch.float32 and tensor.shape == (size,) for tensor in tensors)
    assert all(tensor.is_contiguous() for tensor in tensors)
    arrays = tuple(tensor.numpy() for tensor in tensors)
    full = size // _WORD
    _share_out(lambda first, last: loop(arrays, (0, first, last), streams, *arguments), full)
    if size % _WORD:
        ends = [tensor[full * _WORD :] for tensor in tensors]
        # Tensors that are one have one copy.
        copies = {end.data_ptr(): torch.nn.functional.pad(end, (0, _WORD - len(end))) for end in ends}
        padded = tuple(copies[end.data_ptr()].numpy() for end in ends)
        loop(padded, (full, full, full + 1), False, *arguments)
        for end in ends:
            end.copy_(copies[end.data_ptr()][: len(end)])


def _share_out(work: Callable[[int, int], None], num_words: int) -> None:
    """Call `work(first, last)` until all words are done, on as many threads as torch uses."""
    blocks = [(first, min(first + _BLOCK_WORDS, num_words)) for first in range(0, num_words, _BLOCK_WORDS)]
    num_threads = min(torch.get_num_threads(), len(blocks))
    if num_threads <= 1:
        if blocks:
            work(0, num_words)
        return
    # Threads draw from one iterator: one that is held up takes fewer.
    remaining = iter(blocks)

    def take() -> None:
        for block in remaining:
            work(*block)

    with ThreadPoolExecutor(num_threads - 1) as pool:
        helpers = [pool.submit(take) for _ in range(num_threads - 1)]
        take()
    for helper in helpers:
        helper.result()
