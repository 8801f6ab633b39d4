"""The kernel in NumPy: any floating type on a CPU, without any other library.

It goes chunk by chunk, so that a chunk of the direction and of its operands stays in a core's cache, and takes one
thread: memory is the limit, and a second thread gained nothing.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heron.arrays import arithmetic_dtype
from heron.zo.kernel import AdamFactors, Terms
from heron.zo.stream import Distribution, gaussian, scaled_signs, sign_table

Floats = NDArray[Any]

# A multiple of 64, so that no word of signs is made twice.
_CHUNK_ENTRIES = 1 << 16


class NumpyKernel:
    """Operations of NumPy, one after the other.

    Args:
        distribution: distribution of the directions.
    """

    def __init__(self, distribution: Distribution) -> None:
        self._distribution = distribution

    # A run that diverges overflows; whoever reads its losses notices.
    @np.errstate(all="ignore")
    def add_directions_(
        self, out: Floats, base: Floats, seeds: Sequence[int], scales_P: Floats, *, copy_to: Floats | None = None
    ) -> None:
        """See `Kernel`."""
        dtype = arithmetic_dtype(base)
        directions = self._scaled(Terms(seeds, scales_P), dtype)
        (scratch,) = _buffers(base, dtype, 1)
        for start, stop in _chunks(base):
            chunk = out[start:stop]
            source = base[start:stop].astype(dtype, copy=False)
            total = chunk if chunk.dtype == dtype else source
            for probe in range(len(seeds)):
                np.add(source, directions.term(probe, start, stop, scratch), out=total)
                source = total
            if total is not chunk:
                chunk[:] = total
            if copy_to is not None:
                copy_to[start:stop] = chunk

    @np.errstate(all="ignore")
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
        gradients = [self._scaled(terms, velocity.dtype) for terms in steps]
        decay, rate = velocity.dtype.type(decay), velocity.dtype.type(rate)
        buffers = _buffers(theta, velocity.dtype, 2)
        for start, stop in _chunks(theta):
            x, v, product = theta[start:stop], velocity[start:stop], buffers[1][: stop - start]
            for gradient in gradients:
                v *= decay
                v += gradient.total(start, stop, buffers)
                np.multiply(v, rate, out=product)
                _subtract_(x, product)
            work[start:stop] = x

    @np.errstate(all="ignore")
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
        dtype = first.dtype
        gradients = [self._scaled(terms, dtype) for terms in steps]
        beta1, rest1, beta2, rest2, epsilon = _rounded(factors.scalars, dtype)
        step_sizes, root_scales = _rounded(factors.step_sizes, dtype), _rounded(factors.root_scales, dtype)
        buffers = _buffers(theta, dtype, 2)
        for start, stop in _chunks(theta):
            x, m, v, product = theta[start:stop], first[start:stop], second[start:stop], buffers[1][: stop - start]
            for gradient, step_size, root_scale in zip(gradients, step_sizes, root_scales, strict=True):
                total = gradient.total(start, stop, buffers)
                m *= beta1
                np.multiply(total, rest1, out=product)
                m += product
                v *= beta2
                total *= total
                total *= rest2
                v += total
                denominator = np.sqrt(v, out=product)
                denominator *= root_scale
                denominator += epsilon
                quotient = np.multiply(m, step_size, out=total)
                quotient /= denominator
                _subtract_(x, quotient)
            work[start:stop] = x

    def _scaled(self, terms: Terms[Floats], dtype: np.dtype[Any]) -> "ScaledDirections":
        return ScaledDirections(terms, distribution=self._distribution, dtype=dtype)


class ScaledDirections:
    """The terms `scale_p * direction(seed_p)` of a step, any chunk of them on demand.

    Args:
        terms: the seeds and scales of the step.
        distribution: distribution of the directions.
        dtype: element type of the terms.
    """

    def __init__(self, terms: Terms[Floats], *, distribution: Distribution, dtype: np.dtype[Any]) -> None:
        self._seeds = terms.seeds
        self._distribution = distribution
        self._scales_P = terms.scales_P.astype(dtype)
        if distribution == "rademacher":
            self._tables = [sign_table(scale, dtype) for scale in self._scales_P]

    def term(self, probe: int, start: int, stop: int, out: Floats) -> Floats:
        """Entries `start` to `stop - 1` of the term of a probe, in the buffer `out`."""
        seed = self._seeds[probe]
        if self._distribution == "rademacher":
            return scaled_signs(seed, start, stop, self._tables[probe], out)
        term = out[: stop - start]
        term[:] = gaussian(seed, start, stop)
        term *= self._scales_P[probe]
        return term

    def total(self, start: int, stop: int, buffers: Floats) -> Floats:
        """Entries `start` to `stop - 1` of the sum of the terms, a chunk of the gradient estimate, in `buffers[0]`."""
        total = self.term(0, start, stop, buffers[0])
        for probe in range(1, len(self._seeds)):
            total += self.term(probe, start, stop, buffers[1])
        return total


def _chunks(flat: Floats) -> Iterator[tuple[int, int]]:
    for start in range(0, flat.size, _CHUNK_ENTRIES):
        yield start, min(start + _CHUNK_ENTRIES, flat.size)


def _buffers(flat: Floats, dtype: np.dtype[Any], count: int) -> Floats:
    """Buffers for chunks of arrays as long as `flat`, with room for the rest of the words at both ends."""
    return np.empty((count, min(_CHUNK_ENTRIES, flat.size) + 128), dtype)


def _subtract_(x: Floats, change: Floats) -> None:
    """Subtract in the element type of the change, and round once where that of `x` is narrower."""
    if x.dtype == change.dtype:
        x -= change
    else:
        x[:] = x.astype(change.dtype) - change


def _rounded(numbers: Sequence[float], dtype: np.dtype[Any]) -> Floats:
    """Numbers that do not depend on the data, rounded once."""
    return np.array(numbers).astype(dtype)
