"""Update rules: pure functions of (state, seeds, projected gradients) that anyone can replay bit for bit.

A rule sees the gradient estimate `g = (1/P) sum_p s_p u_p` one chunk at a time and never stores it. Nothing but its
arguments enters, so the server, another client or a test rebuilds the same parameters from the start, the seeds and
the scalars (ALGORITHMS 4a). Every product and sum is a separate operation with one rounding: no fused
multiply-add, no division by a host scalar, hence the same bits in NumPy.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from heron.errors import ConfigError
from heron.zo.flat import FlatParameters
from heron.zo.kernel import ScaledDirections, add_directions_, chunks
from heron.zo.stream import Distribution


@dataclass(frozen=True)
class StepRecord:
    """One zeroth-order step, complete: what a client uploads instead of its parameters.

    Attributes:
        seeds: one direction seed per probe.
        projected_gradients_P: one scalar per probe, shape (P,).

    Raises:
        ConfigError: if there is not one scalar per seed.
    """

    seeds: tuple[int, ...]
    projected_gradients_P: Tensor

    def __post_init__(self) -> None:
        if not self.seeds or self.projected_gradients_P.shape != (len(self.seeds),):
            raise ConfigError(
                f"expected one projected gradient per seed, found {len(self.seeds)} seeds and shape "
                f"{tuple(self.projected_gradients_P.shape)}"
            )


@dataclass(frozen=True)
class RuleState:
    """State of an update rule: steps taken and the moments, each of shape (d,)."""

    num_steps: int = 0
    moments: dict[str, Tensor] = field(default_factory=dict)


class UpdateRule(Protocol):
    """An (init, apply) pair; implementations are frozen dataclasses of their hyperparameters."""

    def init(self, theta: Tensor) -> RuleState:
        """State before the first step for parameters like `theta`."""
        ...

    def apply_(
        self, state: RuleState, flat: FlatParameters, record: StepRecord, distribution: Distribution
    ) -> RuleState:
        """Take one step: change `flat.theta` and the moments in place, write `flat.work`, return the new state."""
        ...


@dataclass(frozen=True)
class SGD:
    """`theta <- theta - learning_rate * g`.

    Attributes:
        learning_rate: step size, > 0.
    """

    learning_rate: float

    def __post_init__(self) -> None:
        _check_rate(self.learning_rate)

    def init(self, theta: Tensor) -> RuleState:  # noqa: ARG002 - every rule is asked the same way
        """No moments."""
        return RuleState()

    @torch.no_grad()
    def apply_(
        self, state: RuleState, flat: FlatParameters, record: StepRecord, distribution: Distribution
    ) -> RuleState:
        """One pass: `theta` and `work` are written together."""
        scales_P = record.projected_gradients_P * (-self.learning_rate / len(record.seeds))
        add_directions_(flat.theta, flat.theta, record.seeds, scales_P, distribution=distribution, copy_to=flat.work)
        flat.mark_restored()
        return RuleState(state.num_steps + 1)


@dataclass(frozen=True)
class Momentum:
    """Heavy ball: `v <- momentum * v + g; theta <- theta - learning_rate * v`.

    Attributes:
        learning_rate: step size, > 0.
        momentum: in [0, 1).
    """

    learning_rate: float
    momentum: float = 0.9

    def __post_init__(self) -> None:
        _check_rate(self.learning_rate)
        _check_decay("momentum", self.momentum)

    def init(self, theta: Tensor) -> RuleState:
        """One moment, zero."""
        return RuleState(0, {"velocity": torch.zeros_like(theta)})

    @torch.no_grad()
    def apply_(
        self, state: RuleState, flat: FlatParameters, record: StepRecord, distribution: Distribution
    ) -> RuleState:
        """One pass over `theta`, `work` and the velocity."""
        gradient = _gradient(record, distribution, flat.theta.dtype)
        for start, stop in chunks(flat.theta):
            velocity = state.moments["velocity"][start:stop]
            velocity.mul_(self.momentum).add_(gradient.total(start, stop))
            _descend_(flat, start, stop, velocity * self.learning_rate)
        flat.mark_restored()
        return RuleState(state.num_steps + 1, state.moments)


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba, ICLR 2015, Algorithm 1).

    Attributes:
        learning_rate: step size, > 0.
        beta1: decay of the first moment, in [0, 1).
        beta2: decay of the second moment, in [0, 1).
        epsilon: added to the root of the second moment, > 0.
    """

    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        _check_rate(self.learning_rate)
        _check_decay("beta1", self.beta1)
        _check_decay("beta2", self.beta2)
        if not self.epsilon > 0:
            raise ConfigError(f"expected epsilon > 0, found {self.epsilon}")

    def init(self, theta: Tensor) -> RuleState:
        """Two moments, zero."""
        return RuleState(0, {"first": torch.zeros_like(theta), "second": torch.zeros_like(theta)})

    @torch.no_grad()
    def apply_(
        self, state: RuleState, flat: FlatParameters, record: StepRecord, distribution: Distribution
    ) -> RuleState:
        """One pass over `theta`, `work` and both moments; bias corrections are folded into two host scalars."""
        num_steps = state.num_steps + 1
        step_size = self.learning_rate / (1.0 - self.beta1**num_steps)
        root_scale = 1.0 / math.sqrt(1.0 - self.beta2**num_steps)
        gradient = _gradient(record, distribution, flat.theta.dtype)
        for start, stop in chunks(flat.theta):
            total = gradient.total(start, stop)
            first = state.moments["first"][start:stop]
            first.mul_(self.beta1).add_(total * (1.0 - self.beta1))
            second = state.moments["second"][start:stop]
            second.mul_(self.beta2).add_(total.mul_(total).mul_(1.0 - self.beta2))
            denominator = _root(second).mul_(root_scale).add_(self.epsilon)
            _descend_(flat, start, stop, (first * step_size).div_(denominator))
        flat.mark_restored()
        return RuleState(num_steps, state.moments)


RULES = {"sgd": SGD, "momentum": Momentum, "adam": Adam}


def replay_(
    rule: UpdateRule,
    state: RuleState,
    flat: FlatParameters,
    records: Iterable[StepRecord],
    distribution: Distribution = "rademacher",
) -> RuleState:
    """Apply recorded steps in order: rebuilds a client's parameters from seeds and scalars, bit for bit."""
    for record in records:
        state = rule.apply_(state, flat, record, distribution)
    return state


def _gradient(record: StepRecord, distribution: Distribution, dtype: torch.dtype) -> ScaledDirections:
    seeds: Sequence[int] = record.seeds
    scales_P = record.projected_gradients_P * (1.0 / len(seeds))
    return ScaledDirections(seeds, scales_P, distribution=distribution, dtype=dtype)


def _descend_(flat: FlatParameters, start: int, stop: int, decrement: Tensor) -> None:
    theta = flat.theta[start:stop].sub_(decrement)
    flat.work[start:stop].copy_(theta)


def _root(values: Tensor) -> Tensor:
    """Square root, rounded correctly: vectorised float32 roots are not on every CPU, and a replay may run elsewhere."""
    return torch.sqrt(values.double()).to(values.dtype)


def _check_rate(learning_rate: float) -> None:
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise ConfigError(f"expected a learning rate > 0, found {learning_rate}")


def _check_decay(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ConfigError(f"expected {name} in [0, 1), found {value}")
