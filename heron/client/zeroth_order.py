"""The part of a client that learns from probes: two flat copies of theta, an update rule, its moments."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from heron.arrays import Array, arithmetic_dtype, namespace
from heron.client.step import ClientState
from heron.errors import ConfigError
from heron.seeds import StepKey
from heron.wire.learning import Learning
from heron.wire.walks import direction_seeds, schedule_of
from heron.zo.flat import FlatArrays, LossFunction
from heron.zo.rules import RULES
from heron.zo.steps import RuleState, StepRecord, UpdateRule


class ZerothOrderPart:
    """theta and how it changes.

    A step is a chain: directions from seeds, a projected gradient for each from probes, transforms of these scalars,
    and the update rule. Everything after the transforms is a function of seeds and scalars, so that it can be replayed.

    Args:
        theta: the parameters, in two flat copies.
        learning: update rule, learning rate, estimator (mu, q) and transforms.

    Attributes:
        theta: the parameters.
        estimator: the rule by which losses become projected gradients.
        last_step: seeds and projected gradients of the latest step.

    Raises:
        ConfigError: if there is no estimator, the scalars to be sent do not determine the update, or the kernel cannot
            do its work.
    """

    def __init__(self, theta: FlatArrays[Any], learning: Learning) -> None:
        estimator = learning.estimator
        if estimator is None:
            raise ConfigError(
                "expected estimator.probes of at least 1 where nothing is trained exactly, found 0; raise it, set "
                "client.exact, or use the algorithm frozen"
            )
        if learning.sends_scalars:
            _check_replayable(learning)
        self.theta = theta
        theta.kernel_for(estimator.distribution)  # now rather than at the first step, should it be refused
        self._learning = learning
        self.estimator = estimator
        self._state = self._rule(0).init(theta.theta)
        self.last_step: StepRecord | None = None

    def load(self, model: Mapping[str, Array], state: Mapping[str, Array]) -> None:
        """Take theta from `model`, which holds its arrays and no others, and the moments from `state`, or zero.

        Args:
            model: theta by name.
            state: what `state` returned, as arrays of the client's own; empty before the first round.
        """
        self.theta.load_(model)
        if state:
            moments = {name: array for name, array in state.items() if name != "num_steps"}
            self._state = RuleState(int(state["num_steps"]), moments)
        else:
            self._state = self._rule(0).init(self.theta.theta)

    def learn(self, loss_fn: LossFunction, clean_loss: Array, key: StepKey) -> None:
        """Probe and update: q forwards (central: 2 q), q + 1 passes over theta.

        Args:
            loss_fn: returns the loss at the present parameters, shape ().
            clean_loss: the loss at theta.
            key: the step's place; directions are a function of it.
        """
        seeds = self.directions(key)
        self.update(key, seeds, self.estimator.projected_gradients_(self.theta, loss_fn, seeds, clean_loss))

    def at(self, seed: int, scale: float, compute: Callable[[], Array]) -> Array:
        """Compute at theta + scale u, for whoever restores theta afterwards; running statistics stay as they are.

        Args:
            seed: seed of the direction u.
            scale: length along it, e.g. mu or -mu.
            compute: a pass of the network.
        """
        self.theta.perturb_(seed, scale, self.estimator.distribution)
        with self.theta.probing():
            return compute()

    def directions(self, key: StepKey) -> tuple[int, ...]:
        """Derive the seeds of the step's q directions, the client's own or its seed group's."""
        schedule = schedule_of(key.client_id, self._learning.settings.seed_groups)
        return direction_seeds(key.run_seed, key.round_index, schedule, key.local_step, self.estimator.num_probes)

    def update(self, key: StepKey, seeds: Sequence[int], projected_gradients_P: Any) -> None:
        """Transform the projected gradients and take one step of the update rule along the directions of `seeds`."""
        for transform in self._learning.transforms:
            projected_gradients_P = transform(projected_gradients_P, key)
        if self._learning.sends_scalars:
            # The step is taken with what is sent, not with what was rounded to be sent.
            projected_gradients_P = _as(projected_gradients_P, "float32")
        dtype = arithmetic_dtype(self.theta.theta)
        scalars_P = namespace(projected_gradients_P).asarray(projected_gradients_P, dtype=dtype)
        self.last_step = StepRecord(tuple(seeds), scalars_P)
        rule = self._rule(key.round_index)
        self._state = rule.replay_(self._state, self.theta, [self.last_step], self.estimator.distribution)

    def sent(self) -> Array | None:
        """Return the projected gradients of the latest step, shape (q,), float32, where they are sent; else None."""
        if not self._learning.sends_scalars or self.last_step is None:
            return None
        scalars_P: Array = _as(self.last_step.projected_gradients_P, "float32")
        return scalars_P

    def model(self) -> dict[str, Array]:
        """Return views of theta by parameter name."""
        return dict(self.theta.named_tensors())

    def replayed(self) -> tuple[str, ...]:
        """Return the names of theta where scalars determine how it changes."""
        return tuple(self.model()) if self._learning.sends_scalars else ()

    def state(self) -> ClientState:
        """Return moments and step count."""
        return {"num_steps": np.array(self._state.num_steps), **self._state.moments}

    def moments(self) -> list[Array]:
        """Return the moments of the update rule."""
        return list(self._state.moments.values())

    def _rule(self, round_index: int) -> UpdateRule:
        rule: UpdateRule = RULES[self._learning.client.optimizer](self._learning.rate(round_index))
        return rule


def _as(array: Any, dtype: str) -> Any:
    """Return an array as another element type; the same array where it has it."""
    library = namespace(array)
    return library.asarray(array, dtype=getattr(library, dtype))


def _check_replayable(learning: Learning) -> None:
    optimizer = learning.client.optimizer
    if learning.settings.seed_groups and optimizer != "sgd":
        raise ConfigError(
            f"expected client.optimizer=sgd where seed groups send scalars, whose sum is one walk for SGD alone; found "
            f"{optimizer}; set it, or seed_groups=0"
        )
