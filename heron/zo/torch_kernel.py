"""The kernel in torch: any device, dtype and distribution; what faster kernels must equal.

It goes chunk by chunk, so that a chunk of the direction and of its operands stays in a core's cache.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch._subclasses import FakeTensor

from heron.arrays import arithmetic_dtype
from heron.zo.kernel import AdamFactors, Terms
from heron.zo.stream import Distribution
from heron.zo.torch_stream import direction, scaled_signs, sign_table

# On a GPU few launches matter more than caches.
_CHUNK_ENTRIES = {"cpu": 1 << 17, "cuda": 1 << 24}


class TorchKernel:
    """Operations of torch, one after the other.

    Args:
        distribution: distribution of the directions.
    """

    def __init__(self, distribution: Distribution) -> None:
        self._distribution = distribution

    def add_directions_(
        self, out: Tensor, base: Tensor, seeds: Sequence[int], scales_P: Tensor, *, copy_to: Tensor | None = None
    ) -> None:
        """See `Kernel`."""
        dtype = arithmetic_dtype(base)
        directions = self._scaled(Terms(seeds, scales_P), dtype)
        for start, stop in chunks(base):
            chunk = out[start:stop]
            source = base[start:stop]
            total = chunk if chunk.dtype == dtype else torch.empty_like(chunk, dtype=dtype)
            for term in directions.terms(start, stop):
                torch.add(source, term, out=total)
                source = total
            if total is not chunk:
                chunk.copy_(total)
            if copy_to is not None:
                copy_to[start:stop].copy_(chunk)

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
        gradients = [self._scaled(terms, velocity.dtype) for terms in steps]
        for start, stop in chunks(theta):
            theta_chunk, velocity_chunk = theta[start:stop], velocity[start:stop]
            for gradient in gradients:
                velocity_chunk.mul_(decay).add_(gradient.total(start, stop))
                theta_chunk.sub_(velocity_chunk * rate)
            work[start:stop].copy_(theta_chunk)

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
        gradients = [self._scaled(terms, first.dtype) for terms in steps]
        for start, stop in chunks(theta):
            theta_chunk, first_chunk, second_chunk = theta[start:stop], first[start:stop], second[start:stop]
            scalars = zip(gradients, factors.step_sizes, factors.root_scales, strict=True)
            for gradient, step_size, root_scale in scalars:
                total = gradient.total(start, stop)
                first_chunk.mul_(factors.beta1).add_(total * (1.0 - factors.beta1))
                second_chunk.mul_(factors.beta2).add_(total.mul_(total).mul_(1.0 - factors.beta2))
                denominator = _root(second_chunk).mul_(root_scale).add_(factors.epsilon)
                theta_chunk.sub_((first_chunk * step_size).div_(denominator))
            work[start:stop].copy_(theta_chunk)

    def _scaled(self, terms: Terms[Tensor], dtype: torch.dtype) -> "ScaledDirections":
        return ScaledDirections(terms.seeds, terms.scales_P, distribution=self._distribution, dtype=dtype)


class ScaledDirections:
    """The terms `scale_p * direction(seed_p)` of a step, any range of them on demand.

    Args:
        seeds: P direction seeds.
        scales_P: P scales, shape (P,).
        distribution: distribution of the directions.
        dtype: floating type of the terms.
    """

    def __init__(
        self, seeds: Sequence[int], scales_P: Tensor, *, distribution: Distribution, dtype: torch.dtype
    ) -> None:
        self._seeds = seeds
        self._distribution = distribution
        self._scales_P = scales_P.to(dtype)
        if distribution == "rademacher":
            self._tables = [sign_table(scale, dtype, scales_P.device) for scale in self._scales_P]

    def terms(self, start: int, stop: int) -> Iterator[Tensor]:
        """Entries `start` to `stop - 1` of every term, in the order of the seeds."""
        for probe, seed in enumerate(self._seeds):
            if self._distribution == "rademacher":
                yield scaled_signs(seed, start, stop, self._tables[probe])
            else:
                scale = self._scales_P[probe]
                entries = direction(
                    seed,
                    start,
                    stop,
                    distribution=self._distribution,
                    dtype=scale.dtype,
                    device=scale.device,
                )
                yield entries.mul_(scale)

    def total(self, start: int, stop: int) -> Tensor:
        """Entries `start` to `stop - 1` of the sum of the terms: a chunk of the gradient estimate."""
        terms = self.terms(start, stop)
        total = next(terms)
        for term in terms:
            total.add_(term)
        return total


def chunks(flat: Tensor) -> Iterator[tuple[int, int]]:
    """Ranges that cover a flat tensor; every start is a multiple of 64, so no word of signs is made twice."""
    size = _CHUNK_ENTRIES.get(flat.device.type, _CHUNK_ENTRIES["cuda"])
    for start in range(0, flat.numel(), size):
        yield start, min(start + size, flat.numel())


def _root(values: Tensor) -> Tensor:
    """Square root, rounded correctly: torch's vectorised roots are not on every CPU, and a replay may run elsewhere."""
    if values.dtype == torch.float64 and values.device.type == "cpu" and not isinstance(values, FakeTensor):
        return torch.from_numpy(np.sqrt(values.numpy()))
    return torch.sqrt(values.double()).to(values.dtype)
