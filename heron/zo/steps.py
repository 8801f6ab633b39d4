"""Steps as seeds and projected gradients, and what takes them: pure functions that anyone can replay bit for bit.

A rule sees the gradient estimate `g = (1/P) sum_p s_p u_p` one chunk at a time and never stores it. Nothing but its
arguments enters, so the server, another client or a test rebuilds the same parameters from the start, the seeds and
the scalars.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

from heron.arrays import Array
from heron.errors import ConfigError
from heron.zo.flat import FlatArrays
from heron.zo.stream import Distribution

# A pass keeps what it needs of its steps, 8 KiB of each term where signs are looked up, and no more than this many.
_STEPS_PER_PASS = 256


@dataclass(frozen=True)
class StepRecord:
    """One zeroth-order step, complete: what a client uploads instead of its parameters.

    Attributes:
        seeds: one direction seed per probe.
        projected_gradients_P: one scalar per probe, shape (P,), an array of the kind of the parameters.

    Raises:
        ConfigError: if there is not one scalar per seed.
    """

    seeds: tuple[int, ...]
    projected_gradients_P: Any

    def __post_init__(self) -> None:
        if not self.seeds or self.projected_gradients_P.shape != (len(self.seeds),):
            raise ConfigError(
                f"expected one projected gradient per seed, found {len(self.seeds)} seeds and shape "
                f"{tuple(self.projected_gradients_P.shape)}"
            )


@dataclass(frozen=True)
class RuleState:
    """State of an update rule.

    Attributes:
        num_steps: steps taken.
        moments: moments by name, in at least float32, shape (d,) like theta.
    """

    num_steps: int = 0
    moments: dict[str, Any] = field(default_factory=dict)


class UpdateRule(Protocol):
    """An (init, replay) pair; implementations are frozen dataclasses of their hyperparameters."""

    def init(self, theta: Array) -> RuleState:
        """State before the first step for parameters like `theta`."""
        ...

    def replay_(
        self, state: RuleState, flat: FlatArrays[Any], records: Sequence[StepRecord], distribution: Distribution
    ) -> RuleState:
        """Take any number of steps in one pass over memory, with the bits of one after the other.

        Changes `flat.theta` and the moments in place, writes `flat.work`, and returns the new state.

        Args:
            state: steps taken so far, and the moments; changed in place.
            flat: parameters: `theta` is changed, `work` is written.
            records: steps in order.
            distribution: distribution of the directions.

        Returns:
            State after the steps.
        """
        ...


def replay_(
    rule: UpdateRule,
    state: RuleState,
    flat: FlatArrays[Any],
    records: Iterable[StepRecord],
    distribution: Distribution = "rademacher",
) -> RuleState:
    """Apply recorded steps in order: rebuilds a client's parameters from seeds and scalars, bit for bit.

    Many steps share a pass over memory.

    Args:
        rule: update rule of the steps.
        state: state before them, e.g. `rule.init(flat.theta)`.
        flat: parameters before them; changed in place.
        records: steps in order, with scalars of the kind of `flat`: NumPy's or torch's.
        distribution: distribution of the directions.

    Returns:
        State after the steps.
    """
    remaining = iter(records)
    while batch := list(islice(remaining, _STEPS_PER_PASS)):
        state = rule.replay_(state, flat, batch, distribution)
    return state
