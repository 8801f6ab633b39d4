"""What clients that learn from probes have in common: two flat copies of theta, an update rule, its moments."""

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from heron.client.local import LocalNetwork
from heron.client.step import ClientState, StepKey
from heron.errors import ConfigError
from heron.wire.learning import Learning
from heron.wire.walks import direction_seeds, schedule_of
from heron.zo import RULES, FlatParameters, LossFunction, RuleState, StepRecord, UpdateRule


class ZerothOrderPart:
    """theta and how it changes.

    Args:
        module: the network.
        learning: update rule, learning rate and estimator (mu, q).
        only: names of the parameters that learn here; all trainable ones by default.

    Attributes:
        flat: both copies of theta.
        estimator: how losses become projected gradients.
        last_step: seeds and projected gradients of the latest step.

    Raises:
        ConfigError: if there is no estimator, scalars are to be sent that do not tell everything, or the kernel cannot
            do what is asked for.
    """

    def __init__(self, module: nn.Module, learning: Learning, only: Collection[str] | None = None) -> None:
        if not learning.estimator.probes:
            raise ConfigError(
                "expected estimator.probes of at least 1 where nothing is trained exactly, found 0; raise it, set "
                "client.exact, or use the algorithm frozen"
            )
        if learning.update == "scalars":
            _check_replayable(learning)
        self.flat = FlatParameters(module, only, kernel=learning.client.kernel)
        self.flat.kernel_for(learning.estimator.distribution)  # now rather than at the first step, should it be refused
        self._learning = learning
        self.estimator = learning.make_estimator()
        self._state = self._rule(0).init(self.flat.theta)
        self.last_step: StepRecord | None = None

    def load(self, model: Mapping[str, Tensor], state: ClientState) -> None:
        """Theta <- `model`, which holds its tensors and no others; moments <- what the client kept, or zero."""
        self.flat.load_(model)
        if state:
            device = self.flat.theta.device
            moments = {name: tensor.to(device) for name, tensor in state.items() if name != "num_steps"}
            self._state = RuleState(int(state["num_steps"]), moments)
        else:
            self._state = self._rule(0).init(self.flat.theta)

    def learn(self, loss_fn: LossFunction, clean_loss: Tensor, key: StepKey) -> None:
        """Probe and update: q forwards (central: 2 q), q + 1 passes over theta.

        Args:
            loss_fn: the loss at the module's present parameters, shape ().
            clean_loss: the loss at theta.
            key: where the step stands; directions are a function of it.
        """
        seeds = self.directions(key)
        self.update(key, seeds, self.estimator.projected_gradients_(self.flat, loss_fn, seeds, clean_loss))

    def directions(self, key: StepKey) -> tuple[int, ...]:
        """Seeds of the step's q directions, the client's own or its seed group's."""
        schedule = schedule_of(key.client_id, self._learning.seed_groups)
        return direction_seeds(key.run_seed, key.round_index, schedule, key.local_step, self.estimator.num_probes)

    def update(self, key: StepKey, seeds: Sequence[int], projected_gradients_P: Tensor) -> None:
        """Take one step of the update rule along the directions of `seeds`."""
        if self._learning.update == "scalars":
            # The step is taken with what is sent, not with what was rounded to be sent.
            projected_gradients_P = projected_gradients_P.float()
        self.last_step = StepRecord(tuple(seeds), projected_gradients_P.to(self.flat.theta.dtype))
        rule = self._rule(key.round_index)
        self._state = rule.replay_(self._state, self.flat, [self.last_step], self.estimator.distribution)

    def sent(self) -> Tensor | None:
        """Projected gradients of the latest step, shape (q,), float32, where they are sent; else None."""
        if self._learning.update == "dense" or self.last_step is None:
            return None
        projected_gradients_P: Tensor = self.last_step.projected_gradients_P
        return projected_gradients_P.float()

    def model(self) -> dict[str, Tensor]:
        """Views of theta by parameter name."""
        return self.flat.named_tensors()

    def replayed(self) -> tuple[str, ...]:
        """Names of theta where scalars tell how it changes."""
        return tuple(self.model()) if self._learning.update == "scalars" else ()

    def state(self) -> ClientState:
        """Moments and step count."""
        return {"num_steps": torch.tensor(self._state.num_steps), **self._state.moments}

    def resident(self) -> tuple[Tensor, list[Tensor]]:
        """Theta, which lies beside the module's parameters, and the moments."""
        return self.flat.theta, list(self._state.moments.values())

    def _rule(self, round_index: int) -> UpdateRule:
        rule: UpdateRule = RULES[self._learning.client.optimizer](self._learning.rate(round_index))
        return rule


def _check_replayable(learning: Learning) -> None:
    if learning.seed_groups and learning.client.optimizer != "sgd":
        raise ConfigError(
            f"expected client.optimizer=sgd where seed groups send scalars, whose sum is one walk for SGD alone; found "
            f"{learning.client.optimizer}; set it, or seed_groups=0"
        )


class ZerothOrderClient:
    """A client that has nothing but such a part; how a step learns is for those who derive from it.

    Args:
        local: what the client holds.
        learning: update rule, learning rate eta_l and estimator (mu, q).
    """

    def __init__(self, local: LocalNetwork, learning: Learning) -> None:
        self._local = local
        self._learner = ZerothOrderPart(local.module, learning)
        self._keep_state = learning.client.keep_state

    @property
    def last_step(self) -> StepRecord | None:
        """Seeds and projected gradients of the latest step."""
        return self._learner.last_step

    def load(self, model: Mapping[str, Tensor], state: ClientState) -> None:
        """Theta and buffers <- the broadcast; moments <- what the client kept, or zero."""
        buffers = self._local.buffers()
        self._learner.load({name: tensor for name, tensor in model.items() if name not in buffers}, state)
        self._local.load_buffers_(model)

    def model(self) -> dict[str, Tensor]:
        """Theta and the buffers."""
        return self._learner.model() | self._local.buffers()

    def replayed(self) -> tuple[str, ...]:
        """Names of theta where scalars tell how it changes."""
        return self._learner.replayed()

    def state(self) -> ClientState:
        """Moments and step count, or nothing where every round starts afresh."""
        return self._learner.state() if self._keep_state else {}

    def resident(self) -> dict[str, list[Tensor]]:
        """Both copies of theta count as parameters."""
        theta, moments = self._learner.resident()
        return {
            "parameters": [theta, *self._local.module.parameters()],
            "buffers": list(self._local.buffers().values()),
            "optimizer_state": moments,
        }
