"""HO-SFL: zeroth-order clients on the linear surrogate of a cut gradient, averaged as scalars.

arXiv 2603.14773 (2026). The client uploads z = f_c(x; v); the Main Server trains on it by backpropagation and returns
delta = grad_z l at its parameters before the step. The client descends

    L(v) = <delta, f_c(x; v)>,    grad L(v) = grad_v l   at the clean point,

by q probes of f_c alone. A step costs (1 + q) F_c (central: 1 + 2 q) and no autograd graph; z stays on the client until
delta has come, for <delta, z>, and delta until the last probe.

All clients of a round share one schedule of directions and descend by plain SGD, so the mean of their models is

    theta_c <- theta_c - (eta / q) sum_m (sum_i w_i s_{i,m}) u_m

for any number of local steps (docs/methods.md, "Seed groups"), m being a (local step, probe): replies hold the scalars
s alone.

`P` probes of a step.
"""

from heron.algorithms.algorithm import Algorithm, zeroth_order
from heron.algorithms.coupled import coupled_round
from heron.client.learner import Learner
from heron.client.step import StepGenerator, StepResult
from heron.data import Batch
from heron.seeds import StepKey


class HoSflClient(Learner):
    """A backprop-free client that is told the gradient at the cut."""

    def step(self, batch: Batch, key: StepKey) -> StepGenerator:
        """Make one clean forward, then, with the cut gradient, q forwards and q + 1 passes over theta_c."""
        assert self.probed is not None  # the algorithm's orders say so
        mask_seed, runtime = key.seed("dropout"), self.runtime
        parcel = [runtime.smash(batch, mask_seed)]
        delta = yield parcel[0]
        assert delta is not None  # a coupled round answers every upload
        anchor = runtime.anchor(delta, parcel.pop())  # the probes need the room of z
        self.probed.learn(lambda: runtime.surrogate(batch, mask_seed, delta), anchor, key)
        return StepResult(None, self.probed.sent())


HO_SFL = Algorithm(
    name="ho_sfl",
    summary="HO-SFL: zeroth-order clients on the linear surrogate of the cut gradient, replies of scalars alone",
    citation="HO-SFL, arXiv 2603.14773 (2026)",
    orders=zeroth_order,
    make_client=HoSflClient,
    run_round=coupled_round,
    head=None,
    uploads="every_step",
    answers="cut_gradient",
    optimizers=("sgd",),
    fixed={"client": {"keep_state": False}, "update": "scalars", "seed_groups": 1},
)
