"""HERON-SFL: clients that learn by zeroth order on a local loss.

"Lean Clients, Full Accuracy: Hybrid Zeroth- and First-Order Split Federated Learning", Kou, Chen, Yang, Shen,
arXiv 2601.09076 (2026). A local step is one clean forward, which also yields the smashed data, and q probes of

    l(theta_l) = loss(f_a(f_c(x; theta_c); theta_a), y)

with theta_l <- theta_l - eta_l * (1/q) sum_p s_p u_p. Nothing is cached and no gradient is computed.

`client.exact` moves the order boundary (`heron.client.first_order`): so many modules at the client's end, the
auxiliary network first, train exactly and the rest by zeroth order. 0 is the method as published.

`client.learning` gives groups of layers losses of their own (`heron.client.layer_local`), which they descend by zeroth
order or exactly.
"""

from heron.algorithms.algorithm import Algorithm
from heron.algorithms.decoupled import decoupled_round
from heron.client.first_order import LocalLossClient
from heron.client.layer_local import LayerLocalClient
from heron.client.learner import Learner
from heron.client.private import PrivateHeadClient, PrivateProbingClient
from heron.client.private_exact_groups import PrivateExactGroupsClient
from heron.client.private_groups import PrivateGroupsClient
from heron.client.runtime import Orders, Runtime
from heron.client.step import ClientLearner, StepGenerator, StepResult
from heron.data import Batch
from heron.seeds import StepKey
from heron.wire.learning import Learning


class HeronClient(Learner):
    """A backprop-free client; theta is theta_l = (theta_c, theta_a)."""

    def step(self, batch: Batch, key: StepKey) -> StepGenerator:
        """Make one zeroth-order step: 1 + q forwards (one-sided), q + 1 passes over theta_l, no autograd graph."""
        assert self.probed is not None  # the algorithm's orders say so
        mask_seed = key.seed("dropout")
        smashed, clean_loss = self.runtime.clean(batch, mask_seed)
        yield smashed
        del smashed  # handed over: the probes need its room
        self.probed.learn(lambda: self.runtime.loss(batch, mask_seed), clean_loss, key)
        return StepResult(clean_loss, self.probed.sent())


def _orders(learning: Learning) -> Orders:
    """The modules above the order boundary learn exactly, those below from probes, if there are any."""
    client, has_probes = learning.client, learning.estimator is not None
    if client.learning == "zeroth_order":
        return Orders(client.exact, probes=client.exact == 0 or has_probes)
    above = client.exact if isinstance(client.exact, int) else 0
    if client.learning == "local_exact":
        return Orders("all", groups=client.groups, above=above)
    return Orders(above, probes=above == 0 or has_probes, groups=client.groups, above=above)


def _make_client(runtime: Runtime, learning: Learning) -> ClientLearner:
    """Without an exact part this is HERON-SFL as published; with nothing below the boundary it is CSE-FSL's client."""
    if runtime.groups:
        return LayerLocalClient(runtime, lambda group: _learner(group, learning))
    return _learner(runtime, learning)


def _learner(runtime: Runtime, learning: Learning) -> HeronClient | LocalLossClient:
    return HeronClient(runtime, learning) if runtime.exact is None else LocalLossClient(runtime, learning)


def _make_private(runtime: Runtime, learning: Learning) -> ClientLearner:
    if runtime.groups:
        groups_kind = PrivateGroupsClient if learning.client.learning != "local_exact" else PrivateExactGroupsClient
        return groups_kind(runtime, learning, upload_period=learning.client.upload_period)
    kind = PrivateProbingClient if runtime.exact is None else PrivateHeadClient
    return kind(runtime, learning, upload_period=learning.client.upload_period)


HERON = Algorithm(
    name="heron",
    summary="HERON-SFL: zeroth-order clients with an auxiliary network, first-order Main Server",
    citation="Kou, Chen, Yang, Shen, arXiv 2601.09076 (2026)",
    orders=_orders,
    make_client=_make_client,
    run_round=decoupled_round,
    head="auxiliary",
    main_server="heron.server.alignment:refreshing_server",
    has_boundary=True,
    make_private=_make_private,
)
