"""A part of a network that learns from probes: two flat copies of theta, an update rule, its moments."""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from heron.algorithms.base import ClientSettings, ClientState, StepKey
from heron.errors import ConfigError
from heron.zo import RULES, FlatParameters, LossFunction, RuleState, StepRecord


class ZerothOrderPart:
    """theta and how it changes.

    Args:
        module: the network.
        settings: update rule, learning rate and estimator (mu, q).
        only: names of the parameters that learn here; all trainable ones by default.

    Attributes:
        last_step: seeds and projected gradients of the latest step.

    Raises:
        ConfigError: if there is no estimator.
    """

    def __init__(self, module: nn.Module, settings: ClientSettings, only: Collection[str] | None = None) -> None:
        if settings.estimator is None:
            raise ConfigError(
                "expected estimator.probes of at least 1 where nothing is trained exactly, found 0; raise it, set "
                "client.exact, or use the algorithm frozen"
            )
        self._flat = FlatParameters(module, only)
        self._rule = RULES[settings.optimizer](settings.learning_rate)
        self._estimator = settings.estimator
        self._state = self._rule.init(self._flat.theta)
        self.last_step: StepRecord | None = None

    def load(self, model: Mapping[str, Tensor], state: ClientState) -> None:
        """Theta <- `model`, which holds its tensors and no others; moments <- what the client kept, or zero."""
        self._flat.load_(model)
        if state:
            device = self._flat.theta.device
            moments = {name: tensor.to(device) for name, tensor in state.items() if name != "num_steps"}
            self._state = RuleState(int(state["num_steps"]), moments)
        else:
            self._state = self._rule.init(self._flat.theta)

    def learn(self, loss_fn: LossFunction, clean_loss: Tensor, key: StepKey) -> None:
        """Probe and update: q forwards (central: 2 q), q + 1 passes over theta.

        Args:
            loss_fn: the loss at the module's present parameters, shape ().
            clean_loss: the loss at theta.
            key: where the step stands; directions are a function of it.
        """
        seeds = tuple(key.seed("direction", probe) for probe in range(self._estimator.num_probes))
        found_P = self._estimator.projected_gradients_(self._flat, loss_fn, seeds, clean_loss)
        self.last_step = StepRecord(seeds, found_P.to(self._flat.theta.dtype))
        self._state = self._rule.apply_(self._state, self._flat, self.last_step, self._estimator.distribution)

    def model(self) -> dict[str, Tensor]:
        """Views of theta by parameter name."""
        return self._flat.named_tensors()

    def state(self) -> ClientState:
        """Moments and step count."""
        return {"num_steps": torch.tensor(self._state.num_steps), **self._state.moments}

    def resident(self) -> tuple[Tensor, list[Tensor]]:
        """Theta, which lies beside the module's parameters, and the moments."""
        return self._flat.theta, list(self._state.moments.values())
