"""The update rules: SGD, momentum, Adam.

Every product and sum is a separate operation with one rounding: no fused multiply-add, no division by a host scalar,
hence the same bits for NumPy arrays and for tensors.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from heron.arrays import Array, arithmetic_dtype, namespace
from heron.checked import Checked
from heron.ranges import PositiveFloat, Probability
from heron.zo.flat import FlatArrays
from heron.zo.kernel import AdamFactors, Terms
from heron.zo.steps import RuleState, StepRecord
from heron.zo.stream import Distribution


@dataclass(frozen=True)
class SGD(Checked):
    """`theta <- theta - learning_rate * g`.

    Attributes:
        learning_rate: step size, > 0.
    """

    learning_rate: PositiveFloat

    def init(self, theta: Array) -> RuleState:  # noqa: ARG002 - every rule is asked the same way
        """No moments."""
        return RuleState()

    def replay_(
        self, state: RuleState, flat: FlatArrays[Any], records: Sequence[StepRecord], distribution: Distribution
    ) -> RuleState:
        """One pass: `theta` and `work` are written together, steps are terms like probes.

        Arguments as of `UpdateRule.replay_`.

        Parameters narrower than float32, which every step rounds, have a pass a step.
        """
        rounds_each = arithmetic_dtype(flat.theta) != flat.theta.dtype
        passes = [[record] for record in records] if rounds_each else [list(records)]
        for together in passes if records else []:
            seeds = [seed for record in together for seed in record.seeds]
            scales = [_scales(record, -self.learning_rate) for record in together]
            kernel = flat.kernel_for(distribution)
            kernel.add_directions_(
                flat.theta, flat.theta, seeds, namespace(scales[0]).concat(scales), copy_to=flat.work
            )
            flat.mark_restored()
        return RuleState(state.num_steps + len(records))


@dataclass(frozen=True)
class Momentum(Checked):
    """Heavy ball: `v <- momentum * v + g; theta <- theta - learning_rate * v`.

    Attributes:
        learning_rate: step size, > 0.
        momentum: in [0, 1).
    """

    learning_rate: PositiveFloat
    momentum: Probability = 0.9

    def init(self, theta: Array) -> RuleState:
        """One moment, zero."""
        return RuleState(0, {"velocity": _zeros(theta)})

    def replay_(
        self, state: RuleState, flat: FlatArrays[Any], records: Sequence[StepRecord], distribution: Distribution
    ) -> RuleState:
        """One pass over `theta`, `work` and the velocity. Arguments as of `UpdateRule.replay_`."""
        flat.kernel_for(distribution).momentum_(
            flat.theta,
            flat.work,
            state.moments["velocity"],
            [_gradient(record) for record in records],
            decay=self.momentum,
            rate=self.learning_rate,
        )
        flat.mark_restored()
        return RuleState(state.num_steps + len(records), state.moments)


@dataclass(frozen=True)
class Adam(Checked):
    """Adam (Kingma and Ba, ICLR 2015, Algorithm 1).

    Attributes:
        learning_rate: step size, > 0.
        beta1: decay of the first moment, in [0, 1).
        beta2: decay of the second moment, in [0, 1).
        epsilon: added to the root of the second moment, > 0.
    """

    learning_rate: PositiveFloat
    beta1: Probability = 0.9
    beta2: Probability = 0.999
    epsilon: PositiveFloat = 1e-8

    def init(self, theta: Array) -> RuleState:
        """Two moments, zero."""
        return RuleState(0, {name: _zeros(theta) for name in ("first", "second")})

    def replay_(
        self, state: RuleState, flat: FlatArrays[Any], records: Sequence[StepRecord], distribution: Distribution
    ) -> RuleState:
        """One pass over `theta`, `work` and both moments; bias corrections are folded into two host scalars a step.

        Arguments as of `UpdateRule.replay_`.
        """
        steps = range(state.num_steps + 1, state.num_steps + len(records) + 1)
        factors = AdamFactors(
            self.beta1,
            self.beta2,
            self.epsilon,
            step_sizes=[self.learning_rate / (1.0 - self.beta1**step) for step in steps],
            root_scales=[1.0 / math.sqrt(1.0 - self.beta2**step) for step in steps],
        )
        flat.kernel_for(distribution).adam_(
            flat.theta,
            flat.work,
            state.moments["first"],
            state.moments["second"],
            [_gradient(record) for record in records],
            factors,
        )
        flat.mark_restored()
        return RuleState(state.num_steps + len(records), state.moments)


OptimizerName = Literal["sgd", "momentum", "adam"]

RULES = {"sgd": SGD, "momentum": Momentum, "adam": Adam}
"""Update rules by name."""


def _zeros(theta: Array) -> Any:
    return namespace(theta).zeros_like(theta, dtype=arithmetic_dtype(theta))


def _gradient(record: StepRecord) -> Terms[Any]:
    return Terms(record.seeds, _scales(record, 1.0))


@np.errstate(over="ignore")
def _scales(record: StepRecord, factor: float) -> Any:
    return record.projected_gradients_P * (factor / len(record.seeds))
