"""MU-SplitFed: split learning by zeroth order on both sides, several steps of the server for one of a client.

"MU-SplitFed", arXiv 2510.21155 (2025). A client uploads its clean z = f_c(x; theta_c), on which the server makes tau
zeroth-order steps (`heron.server.zeroth_server`), then h+ and h- = f_c(x; theta_c +- mu u), and is told the loss of
each at the server's parameters after these steps:

    s = [ l(h+) - l(h-) ] / 2 mu,    theta_c <- theta_c - eta_c s u

Each client has a copy of the server part in its round. At the end of the round both parts go from theta to
theta + eta_g * mean_i(change of i); eta_g is `fed_server.learning_rate` with `fed_server.optimizer=step`, else 1.
"""

from heron.algorithms.algorithm import Algorithm, zeroth_order
from heron.algorithms.coupled import coupled_round
from heron.arrays import Array, namespace
from heron.client.learner import Learner
from heron.client.step import Perturbed, StepGenerator, StepResult
from heron.data import Batch
from heron.seeds import StepKey


class MuSplitFedClient(Learner):
    """A backprop-free client that is told the losses of what it uploads."""

    def step(self, batch: Batch, key: StepKey) -> StepGenerator:
        """Upload the clean pass, then both sides of each probe; 1 + 2 q forwards."""
        assert self.probed is not None  # the algorithm's orders say so
        mask_seed, probed = key.seed("dropout"), self.probed
        mu, seeds = probed.estimator.mu, probed.directions(key)
        parcel = [self.runtime.smash(batch, mask_seed)]
        clean_loss = yield parcel.pop()
        losses: list[Array] = []
        try:
            for seed in seeds:
                for scale in (mu, -mu):
                    parcel = [probed.at(seed, scale, lambda: self.runtime.smash(batch, mask_seed))]
                    loss = yield Perturbed(parcel.pop(), len(losses))
                    assert loss is not None  # a coupled round answers every upload
                    losses.append(loss)
        finally:
            probed.theta.restore_()
        stack = namespace(losses[0]).stack
        probed.update(key, seeds, (stack(losses[::2]) - stack(losses[1::2])) / (2 * mu))
        return StepResult(clean_loss, probed.sent())


MU_SPLITFED = Algorithm(
    name="mu_splitfed",
    summary="MU-SplitFed: zeroth order on both sides, several steps of the Main Server for one of a client",
    citation="MU-SplitFed, arXiv 2510.21155 (2025)",
    orders=zeroth_order,
    make_client=MuSplitFedClient,
    run_round=coupled_round,
    head=None,
    uploads="every_step",
    answers="loss",
    clean_first=True,
    main_server="heron.server.zeroth_server:ZerothOrderServer",
    optimizers=("sgd",),
    fixed={"estimator": {"scheme": "central"}},
)
