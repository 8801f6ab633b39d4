"""HERON-SFL: clients that learn by zeroth order on a local loss.

"Lean Clients, Full Accuracy: Hybrid Zeroth- and First-Order Split Federated Learning", Kou, Chen, Yang, Shen,
arXiv 2601.09076 (2026). A local step is one clean forward, which also yields the smashed data, and q probes of

    l(theta_l) = loss(f_a(f_c(x; theta_c); theta_a), y)

with theta_l <- theta_l - eta_l * (1/q) sum_p s_p u_p. Nothing is cached and no gradient is computed.

`client.exact` moves the order boundary (`heron.algorithms.boundary`): so many modules at the client's end, the
auxiliary network first, train exactly and the rest by zeroth order. 0 is the method as published.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from heron.algorithms.alignment import refreshing_server
from heron.algorithms.base import (
    Algorithm,
    ClientLearner,
    ClientSettings,
    ClientState,
    StepGenerator,
    StepKey,
    StepResult,
)
from heron.algorithms.boundary import BoundaryClient, exact_settings
from heron.algorithms.decoupled import decoupled_round
from heron.algorithms.first_order import LocalLossClient
from heron.algorithms.local import LocalNetwork
from heron.algorithms.zeroth_order import ZerothOrderPart
from heron.data import Batch
from heron.errors import ConfigError
from heron.split import num_client_modules, place_boundary
from heron.zo import StepRecord


class HeronClient:
    """A backprop-free client.

    Args:
        local: client part, auxiliary network and local loss.
        settings: update rule, learning rate eta_l and estimator (mu, q).
    """

    def __init__(self, local: LocalNetwork, settings: ClientSettings) -> None:
        self._local = local
        self._learner = ZerothOrderPart(local.module, settings)
        self._keep_state = settings.keep_state

    @property
    def last_step(self) -> StepRecord | None:
        """Seeds and projected gradients of the latest step."""
        return self._learner.last_step

    def load(self, model: Mapping[str, Tensor], state: ClientState) -> None:
        """theta_l <- the broadcast; moments <- what the client kept, or zero."""
        buffers = self._local.buffers()
        self._learner.load({name: tensor for name, tensor in model.items() if name not in buffers}, state)
        self._local.load_buffers_(model)

    def step(self, batch: Batch, key: StepKey) -> StepGenerator:
        """One zeroth-order step: 1 + q forwards (one-sided), q + 1 passes over theta_l, no autograd graph."""
        mask_seed = key.seed("dropout")
        with torch.no_grad():
            smashed, clean_loss = self._local.clean_pass(batch, mask_seed)
        yield smashed
        del smashed  # handed over: the probes need its room
        self._learner.learn(lambda: self._local.loss_pass(batch, mask_seed), clean_loss, key)
        return StepResult(clean_loss)

    def model(self) -> dict[str, Tensor]:
        """theta_l and the buffers."""
        return self._learner.model() | self._local.buffers()

    def state(self) -> ClientState:
        """Moments and step count, or nothing where every round starts afresh."""
        return self._learner.state() if self._keep_state else {}

    def resident(self) -> dict[str, list[Tensor]]:
        """Both copies of theta_l count as parameters."""
        theta, moments = self._learner.resident()
        return {
            "parameters": [theta, *self._local.module.parameters()],
            "buffers": list(self._local.buffers().values()),
            "optimizer_state": moments,
        }


def make_client(local: LocalNetwork, settings: ClientSettings) -> ClientLearner:
    """The client at the order boundary of the settings: 0 is HERON-SFL as published, all of it CSE-FSL's client.

    Raises:
        ConfigError: if the boundary is neither a number nor `all`.
        SplitError: if the client has no such boundary.
    """
    if settings.exact == 0:
        return HeronClient(local, settings)
    if settings.exact in {"all", num_client_modules(local.module["client"])}:
        return LocalLossClient(local, exact_settings(settings))
    if not isinstance(settings.exact, int):
        raise ConfigError(f"expected client.exact to be a number or 'all', found {settings.exact!r}")
    boundary = place_boundary(local.module["client"], local.module["auxiliary"], settings.exact)
    return BoundaryClient(local, settings, boundary)


HERON = Algorithm(
    name="heron",
    summary="HERON-SFL: zeroth-order clients with an auxiliary network, first-order Main Server",
    citation="Kou, Chen, Yang, Shen, arXiv 2601.09076 (2026)",
    make_client=make_client,
    run_round=decoupled_round,
    head="auxiliary",
    make_main_server=refreshing_server,
    has_boundary=True,
)
