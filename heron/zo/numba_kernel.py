"""The kernel compiled by numba: Rademacher directions, float32, CPU.

Entries are computed each on its own, so results do not depend on how they are shared among threads. The threads are
plain ones that live for a call: numba's own pools must not be entered from two threads at once, and one more OpenMP
would spin beside torch's.
"""

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heron.zo.kernel import AdamFactors, Terms

Floats = NDArray[np.float32]

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
        self, out: Floats, base: Floats, seeds: Sequence[int], scales_P: Floats, *, copy_to: Floats | None = None
    ) -> None:
        """See `Kernel`."""
        written = out if copy_to is None else copy_to
        streams = _streams(written) and _address(written) != _address(base)
        terms = _terms([Terms(seeds, scales_P)])
        _run(self._loops.add_terms, (out, base, written), streams, terms, copy_to is not None)

    def momentum_(
        self,
        theta: Floats,
        work: Floats,
        velocity: Floats,
        steps: Sequence[Terms[Floats]],
        *,
        decay: float,
        rate: float,
    ) -> None:
        """See `Kernel`."""
        scalars = np.float32(decay), np.float32(rate)
        _run(self._loops.momentum, (theta, work, velocity), _streams(work), _terms(steps), _stops(steps), scalars)

    def adam_(
        self,
        theta: Floats,
        work: Floats,
        first: Floats,
        second: Floats,
        steps: Sequence[Terms[Floats]],
        factors: AdamFactors,
    ) -> None:
        """See `Kernel`."""
        scalars = tuple(np.float32(scalar) for scalar in factors.scalars)
        of_steps = np.array(factors.step_sizes, np.float32), np.array(factors.root_scales, np.float32)
        tensors = theta, work, first, second
        _run(self._loops.adam, tensors, _streams(work), _terms(steps), _stops(steps), (scalars, *of_steps))


def _terms(steps: Sequence[Terms[Floats]]) -> tuple[Any, Any, Any]:
    """Seeds, the bits of the scales, and the bits in which `-1 * scale` differs: the sign, but for NaN."""
    seeds = np.array([seed for terms in steps for seed in terms.seeds], dtype=np.uint64)
    with np.errstate(all="ignore"):
        scales = np.concat([terms.scales_P.astype(np.float32) for terms in steps])
        plus, minus = scales.view(np.uint32), (scales * np.float32(-1.0)).view(np.uint32)
    return seeds, plus, plus ^ minus


def _stops(steps: Sequence[Terms[Floats]]) -> Any:
    return np.cumsum([0, *(len(terms.seeds) for terms in steps)])


def _streams(written: Floats) -> bool:
    return written.size >= _STREAM_ENTRIES and _address(written) % _STREAM_ALIGNMENT == 0


def _address(array: Floats) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _run(loop: Callable[..., None], arrays: Sequence[Floats], streams: bool, *arguments: Any) -> None:
    """Call a loop for all words of the arrays, the last one, if it is not full, in copies of 64 entries."""
    size = arrays[0].size
    assert all(array.dtype == np.float32 and array.shape == (size,) for array in arrays)
    assert all(array.flags.c_contiguous for array in arrays)
    full = size // _WORD
    _share_out(lambda first, last: loop(tuple(arrays), (0, first, last), streams, *arguments), full)
    if size % _WORD:
        ends = [array[full * _WORD :] for array in arrays]
        # Arrays that are one have one copy.
        copies = {_address(end): _padded(end) for end in ends}
        padded = tuple(copies[_address(end)] for end in ends)
        loop(padded, (full, full, full + 1), False, *arguments)
        for end in ends:
            end[:] = copies[_address(end)][: len(end)]


def _padded(end: Floats) -> Floats:
    padded = np.zeros(_WORD, np.float32)
    padded[: len(end)] = end
    return padded


def _share_out(work: Callable[[int, int], None], num_words: int) -> None:
    """Call `work(first, last)` until all words are done, on `num_threads()` threads."""
    blocks = [(first, min(first + _BLOCK_WORDS, num_words)) for first in range(0, num_words, _BLOCK_WORDS)]
    num_takers = min(num_threads(), len(blocks))
    if num_takers <= 1:
        if blocks:
            work(0, num_words)
        return
    # Threads draw from one iterator: one that is held up takes fewer.
    remaining = iter(blocks)

    def take() -> None:
        for block in remaining:
            work(*block)

    with ThreadPoolExecutor(num_takers - 1) as pool:
        helpers = [pool.submit(take) for _ in range(num_takers - 1)]
        take()
    for helper in helpers:
        helper.result()


def num_threads() -> int:
    """Number of threads that torch uses, in a process that has it; else `OMP_NUM_THREADS`, or one per processor."""
    # A module that is only half imported has no such function yet.
    of_torch = getattr(sys.modules.get("torch"), "get_num_threads", None)
    if of_torch is not None:
        number: int = of_torch()
        return number
    setting = os.environ.get("OMP_NUM_THREADS", "")
    return int(setting) if setting.isdecimal() and int(setting) else os.cpu_count() or 1
