"""The one kernel contract of zeroth order: `out = base + sum_p scale_p * direction(seed_p)` over a range.

Probing is this with one seed, an SGD update is this with the step's seeds, and so is a replay. A faster kernel
replaces this file behind the same contract and must give the same bits. The order of operations is part of the
contract: chunk by chunk, probes in order, every product and every sum rounded on its own.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from heron.zo.stream import Distribution, direction, scaled_signs, sign_table

# A chunk of the direction and of its operands stays in a core's cache; on a GPU few launches matter more.
_CHUNK_ENTRIES = {"cpu": 1 << 17, "cuda": 1 << 24}


def add_directions_(
    out: Tensor,
    base: Tensor,
    seeds: Sequence[int],
    scales_P: Tensor,
    *,
    distribution: Distribution,
    copy_to: Tensor | None = None,
) -> None:
    """Write `base + sum_p scales_P[p] * direction(seeds[p])` into `out`, in one pass over memory.

    Args:
        out: flat tensor of d entries; may be `base` itself.
        base: flat tensor of d entries.
        seeds: P direction seeds.
        scales_P: P scales on the device of `base`, shape (P,); never read by the host, so a GPU is not waited for.
        distribution: distribution of the directions.
        copy_to: second flat tensor that receives the same values, while they are in the cache.
    """
    directions = ScaledDirections(seeds, scales_P, distribution=distribution, dtype=base.dtype)
    for start, stop in chunks(base):
        chunk = out[start:stop]
        source = base[start:stop]
        for term in directions.terms(start, stop):
            torch.add(source, term, out=chunk)
            source = chunk
        if copy_to is not None:
            copy_to[start:stop].copy_(chunk)


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
