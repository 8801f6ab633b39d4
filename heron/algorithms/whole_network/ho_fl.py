"""HO-FL: clients hold the whole network, its last part learns exactly and the rest from probes of a linear surrogate.

The order boundary of `heron.client.first_order` on a device without a Main Server: with r the activations at the
boundary and delta = d l / d r from the part above, which `client.exact` counts in modules of the whole network,

    theta_above <- rule(theta_above, grad l),    theta_below <- theta_below - (eta / q) sum_p s_p u_p,
    s_p = [ <delta, f_below(x; theta + mu u_p)> - <delta, r> ] / mu

A client sends its h q scalars and what it trained exactly. Without probes (`estimator.probes=0`) the part below stays
as it is: the control that says what zeroth order adds.
"""

from heron.algorithms.algorithm import Algorithm
from heron.algorithms.decoupled import decoupled_round
from heron.client.learner import Learner
from heron.client.runtime import Orders
from heron.client.step import StepGenerator, StepResult
from heron.data import Batch
from heron.seeds import StepKey
from heron.wire.learning import Learning


class HoFlClient(Learner):
    """A client that holds f_c and f_s and learns in both orders; nothing is uploaded."""

    def step(self, batch: Batch, key: StepKey) -> StepGenerator:
        """Make one clean forward, the backward pass of the exact part, then the probes below it."""
        yield None
        if self._exact is None:
            assert self.probed is not None  # the algorithm's orders say so
            mask_seed = key.seed("dropout")
            _, clean_loss = self.runtime.clean(batch, mask_seed)
            self.probed.learn(lambda: self.runtime.loss(batch, mask_seed), clean_loss, key)
            return StepResult(clean_loss, self.probed.sent())
        finished = self._exact.forward(batch, key).finish()
        self.update_exact(key)
        if self.probed is None or finished.surrogate is None:
            return StepResult(finished.loss)
        self.probed.learn(finished.surrogate.loss, finished.surrogate.anchor, key)
        return StepResult(finished.loss, self.probed.sent())


def _orders(learning: Learning) -> Orders:
    """The modules above the order boundary learn exactly, those below from probes, if there are any."""
    exact = learning.client.exact
    return Orders(exact, probes=exact == 0 or learning.estimator is not None)


HO_FL = Algorithm(
    name="ho_fl",
    summary="HO-FL: clients hold the whole network, exact above an order boundary and zeroth order below it",
    citation="HO-FL (2026)",
    orders=_orders,
    make_client=HoFlClient,
    run_round=decoupled_round,
    head="server",
    uploads="never",
    has_boundary=True,
    fixed={"client": {"keep_state": False, "learning": "zeroth_order"}, "update": "scalars"},
)
