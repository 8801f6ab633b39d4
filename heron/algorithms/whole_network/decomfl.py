"""DeComFL: clients hold the whole network and learn it from probes; only scalars travel.

"Achieving Dimension-Free Communication in Federated Learning via Zeroth-Order Optimization", Li, Ying, Liu, Dong, Yang,
ICLR 2025 (arXiv 2405.15861). All clients of a round share one schedule of directions. A client makes K local steps of
SGD, each from P probes of

    l(theta) = loss(f_s(f_c(x; theta_c); theta_s), y),    theta <- theta - (eta / P) sum_p s_p u_p

sends its K P scalars s, and goes back to where the round began. The server averages the scalars, which averages what
the clients became, and the averages go down in place of a model: a client that was absent replays all rounds that it
missed (docs/methods.md, "Seed groups"). There is no Main Server and nothing is uploaded but scalars.
"""

from heron.algorithms.algorithm import Algorithm, zeroth_order
from heron.algorithms.decoupled import decoupled_round
from heron.client.learner import Learner
from heron.client.private import PrivateProbingClient
from heron.client.step import StepGenerator, StepResult
from heron.data import Batch
from heron.seeds import StepKey


class DeComFlClient(Learner):
    """A backprop-free client that holds f_c and f_s."""

    def step(self, batch: Batch, key: StepKey) -> StepGenerator:
        """Make one zeroth-order step on the loss of the whole network; nothing is uploaded."""
        yield None
        assert self.probed is not None  # the algorithm's orders say so
        mask_seed = key.seed("dropout")
        _, clean_loss = self.runtime.clean(batch, mask_seed)
        self.probed.learn(lambda: self.runtime.loss(batch, mask_seed), clean_loss, key)
        return StepResult(clean_loss, self.probed.sent())


DECOMFL = Algorithm(
    name="decomfl",
    summary="DeComFL: zeroth-order clients hold the whole network, nothing is split, replies of scalars alone",
    citation="Li, Ying, Liu, Dong, Yang, ICLR 2025, arXiv 2405.15861",
    orders=zeroth_order,
    make_client=DeComFlClient,
    run_round=decoupled_round,
    head="server",
    uploads="never",
    optimizers=("sgd",),
    fixed={"client": {"keep_state": False}, "update": "scalars", "seed_groups": 1},
    make_private=lambda runtime, learning: PrivateProbingClient(runtime, learning, upload_period=None),
)
