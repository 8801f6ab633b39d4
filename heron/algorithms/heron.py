"""HERON-SFL: clients that learn by zeroth order on a local loss.

"Lean Clients, Full Accuracy: Hybrid Zeroth- and First-Order Split Federated Learning", Kou, Chen, Yang, Shen,
arXiv 2601.09076 (2026). A local step is one clean forward, which also yields the smashed data, and q probes of

    l(theta_l) = loss(f_a(f_c(x; theta_c); theta_a), y)

with theta_l <- theta_l - eta_l * (1/q) sum_p s_p u_p. Nothing is cached and no gradient is computed.

`client.exact` moves the order boundary (`heron.client.boundary`): so many modules at the client's end, the
auxiliary network first, train exactly and the rest by zeroth order. 0 is the method as published.
"""

import torch

from heron.algorithms.algorithm import Algorithm
from heron.algorithms.decoupled import decoupled_round
from heron.client.boundary import BoundaryClient
from heron.client.first_order import LocalLossClient
from heron.client.local import LocalNetwork
from heron.client.step import ClientLearner, StepGenerator, StepKey, StepResult
from heron.client.zeroth_order import ZerothOrderClient
from heron.data import Batch
from heron.errors import ConfigError
from heron.server.alignment import refreshing_server
from heron.split import num_client_modules, place_boundary
from heron.wire.learning import Learning


class HeronClient(ZerothOrderClient):
    """A backprop-free client; theta is theta_l = (theta_c, theta_a)."""

    def step(self, batch: Batch, key: StepKey) -> StepGenerator:
        """One zeroth-order step: 1 + q forwards (one-sided), q + 1 passes over theta_l, no autograd graph."""
        mask_seed = key.seed("dropout")
        with torch.no_grad():
            smashed, clean_loss = self._local.clean_pass(batch, mask_seed)
        yield smashed
        del smashed  # handed over: the probes need its room
        self._learner.learn(lambda: self._local.loss_pass(batch, mask_seed), clean_loss, key)
        return StepResult(clean_loss, self._learner.sent())


def make_client(local: LocalNetwork, learning: Learning) -> ClientLearner:
    """The client at the order boundary of the settings: 0 is HERON-SFL as published, all of it CSE-FSL's client.

    Raises:
        ConfigError: if the boundary is neither a number nor `all`.
        SplitError: if the client has no such boundary.
    """
    exact = learning.client.exact
    if exact == 0:
        return HeronClient(local, learning)
    if exact in {"all", num_client_modules(local.module["client"])}:
        return LocalLossClient(local, learning.exact_part())
    if not isinstance(exact, int):
        raise ConfigError(f"expected client.exact to be a number or 'all', found {exact!r}")
    boundary = place_boundary(local.module["client"], local.module["auxiliary"], exact)
    return BoundaryClient(local, learning, boundary)


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
