"""HERON-SFL: clients that learn by zeroth order on a local loss.

"Lean Clients, Full Accuracy: Hybrid Zeroth- and First-Order Split Federated Learning", Kou, Chen, Yang, Shen,
arXiv 2601.09076 (2026). A local step is one clean forward, which also yields the smashed data, and q probes of

    l(theta_l) = loss(f_a(f_c(x; theta_c); theta_a), y)

with theta_l <- theta_l - eta_l * (1/q) sum_p s_p u_p. Nothing is cached and no gradient is computed.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from heron.algorithms.alignment import refreshing_server
from heron.algorithms.base import Algorithm, ClientSettings, ClientState, StepGenerator, StepKey, StepResult
from heron.algorithms.decoupled import decoupled_round
from heron.algorithms.local import LocalNetwork
from heron.data import Batch
from heron.zo import RULES, FlatParameters, RuleState, StepRecord


class HeronClient:
    """A backprop-free client.

    Args:
        local: client part, auxiliary network and local loss.
        settings: update rule, learning rate eta_l and estimator (mu, q).
    """

    def __init__(self, local: LocalNetwork, settings: ClientSettings) -> None:
        self._local = local
        self._flat = FlatParameters(local.module)
        self._rule = RULES[settings.optimizer](settings.learning_rate)
        self._estimator = settings.estimator
        self._keep_state = settings.keep_state
        self._state = self._rule.init(self._flat.theta)
        self.last_step: StepRecord | None = None

    def load(self, model: Mapping[str, Tensor], state: ClientState) -> None:
        """theta_l <- the broadcast; moments <- what the client kept, or zero."""
        buffers = self._local.buffers()
        self._flat.load_({name: tensor for name, tensor in model.items() if name not in buffers})
        self._local.load_buffers_(model)
        if state:
            device = self._flat.theta.device
            moments = {name: tensor.to(device) for name, tensor in state.items() if name != "num_steps"}
            self._state = RuleState(int(state["num_steps"]), moments)
        else:
            self._state = self._rule.init(self._flat.theta)

    def step(self, batch: Batch, key: StepKey) -> StepGenerator:
        """One zeroth-order step: 1 + q forwards (one-sided), q + 1 passes over theta_l, no autograd graph."""
        mask_seed = key.seed("dropout")
        with torch.no_grad():
            smashed, clean_loss = self._local.clean_pass(batch, mask_seed)
        yield smashed
        del smashed  # handed over: the probes need its room
        seeds = tuple(key.seed("direction", probe) for probe in range(self._estimator.num_probes))
        projected_gradients_P = self._estimator.projected_gradients_(
            self._flat, lambda: self._local.loss_pass(batch, mask_seed), seeds, clean_loss
        )
        self.last_step = StepRecord(seeds, projected_gradients_P)
        self._state = self._rule.apply_(self._state, self._flat, self.last_step, self._estimator.distribution)
        return StepResult(clean_loss)

    def model(self) -> dict[str, Tensor]:
        """theta_l and the buffers."""
        return self._flat.named_tensors() | self._local.buffers()

    def state(self) -> ClientState:
        """Moments and step count, or nothing where every round starts afresh."""
        if not self._keep_state:
            return {}
        return {"num_steps": torch.tensor(self._state.num_steps), **self._state.moments}

    def resident(self) -> dict[str, list[Tensor]]:
        """Both copies of theta_l count as parameters."""
        return {
            "parameters": [self._flat.theta, *self._local.module.parameters()],
            "buffers": list(self._local.buffers().values()),
            "optimizer_state": list(self._state.moments.values()),
        }


HERON = Algorithm(
    name="heron",
    summary="HERON-SFL: zeroth-order clients with an auxiliary network, first-order Main Server",
    citation="Kou, Chen, Yang, Shen, arXiv 2601.09076 (2026)",
    make_client=HeronClient,
    run_round=decoupled_round,
    head="auxiliary",
    make_main_server=refreshing_server,
)
