"""The kernel contract of zeroth order: everything that passes over all parameters.

    add_directions_    out = base + sum_p scale_p * direction(seed_p)
    momentum_, adam_   steps of rules that have moments

Probing is the first with one seed, an SGD update is it with the step's seeds, and so is a replay of any number of
steps. An implementation may be as fast as it likes behind this contract, for the same bits. The order of operations
is part of it: probes in order, steps in order, every product, sum, quotient and root rounded on its own, no fused
multiply-add; numbers that do not depend on the data are computed in double and rounded once.

Parameters narrower than float32 (float16, bfloat16) have moments and scales in float32. All arithmetic on them is in
float32, and `add_directions_` and every step of the other two round a parameter once.

`P` probes of a step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from heron.arrays import Array

A_co = TypeVar("A_co", bound=Array, covariant=True)
A_contra = TypeVar("A_contra", bound=Array, contravariant=True)


@dataclass(frozen=True)
class Terms(Generic[A_co]):
    """The terms `scale_p * direction(seed_p)` of one step.

    Attributes:
        seeds: P direction seeds.
        scales_P: P scales on the device of the parameters, shape (P,); never read by the host of a GPU.
    """

    seeds: Sequence[int]
    scales_P: A_co


@dataclass(frozen=True)
class AdamFactors:
    """Numbers of a pass of Adam that do not depend on the data.

    Attributes:
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        epsilon: added to its root.
        step_sizes: of each step, its bias correction included.
        root_scales: of each step, the bias correction of the root.
    """

    beta1: float
    beta2: float
    epsilon: float
    step_sizes: Sequence[float]
    root_scales: Sequence[float]

    @property
    def scalars(self) -> tuple[float, float, float, float, float]:
        """Factors and terms of every step: `beta1, 1 - beta1, beta2, 1 - beta2, epsilon`."""
        return self.beta1, 1.0 - self.beta1, self.beta2, 1.0 - self.beta2, self.epsilon


class Kernel(Protocol[A_contra]):
    """An implementation for one distribution of directions and one kind of array.

    All arrays of a call are flat, alike and contiguous.
    """

    def add_directions_(
        self,
        out: A_contra,
        base: A_contra,
        seeds: Sequence[int],
        scales_P: A_contra,
        *,
        copy_to: A_contra | None = None,
    ) -> None:
        """Write `base + sum_p scales_P[p] * direction(seeds[p])` into `out`, in one pass over memory.

        Args:
            out: flat array of d entries; may be `base` itself.
            base: flat array of d entries.
            seeds: P direction seeds.
            scales_P: P scales on the device of `base`, shape (P,).
            copy_to: second flat array that receives the same values.
        """
        ...

    def momentum_(
        self,
        theta: A_contra,
        work: A_contra,
        velocity: A_contra,
        steps: Sequence[Terms[A_contra]],
        *,
        decay: float,
        rate: float,
    ) -> None:
        """Steps of `v <- decay * v + g; theta <- theta - rate * v; work <- theta`, in one pass over memory.

        Args:
            theta: flat array of d entries.
            work: receives theta at the end.
            velocity: v.
            steps: terms whose sum is g, at least one of each step.
            decay: in [0, 1).
            rate: step size.
        """
        ...

    def adam_(
        self,
        theta: A_contra,
        work: A_contra,
        first: A_contra,
        second: A_contra,
        steps: Sequence[Terms[A_contra]],
        factors: AdamFactors,
    ) -> None:
        """Steps of Adam (Kingma and Ba, ICLR 2015, Algorithm 1), in one pass over memory.

        Args:
            theta: flat array of d entries.
            work: receives theta at the end.
            first: first moment.
            second: second moment.
            steps: terms whose sum is g, at least one of each step.
            factors: numbers that do not depend on the data.
        """
        ...
