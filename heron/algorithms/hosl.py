"""HOSL: zeroth-order clients whose probes the Main Server evaluates.

arXiv 2601.10940 (2026). The client descends the loss of the whole network,

    L(v) = l(f_s(f_c(x; v); theta_s), y),

without an auxiliary network: it uploads f_c(x; v + mu u_p) for each of its q probes, is told the loss of each, and
uploads the clean z last, on which the Main Server makes its first-order step. All losses are of one theta_s, and one z
is alive at a time. A step costs the client (1 + q) F_c (central: 1 + 2 q) and as many uploads, each answered by one
scalar; the Main Server as many forwards and one backward pass.
"""

from typing import Literal

from heron.algorithms.algorithm import Algorithm, zeroth_order
from heron.algorithms.coupled import coupled_round
from heron.arrays import Array, namespace
from heron.client.learner import Learner
from heron.client.runtime import Runtime
from heron.client.step import Perturbed, StepGenerator, StepResult
from heron.data import Batch
from heron.errors import ConfigError
from heron.seeds import StepKey
from heron.wire.learning import Learning

_SIGNS: dict[str, tuple[Literal[1, -1], ...]] = {"one_sided": (1,), "central": (1, -1)}
"""Sides of the clean point on which a direction is probed, by scheme."""


class HoslClient(Learner):
    """A backprop-free client that is told the losses of what it uploads.

    Args:
        runtime: client part.
        learning: update rule, learning rate and estimator (mu, q).

    Raises:
        ConfigError: if the probes are not finite differences.
    """

    def __init__(self, runtime: Runtime, learning: Learning) -> None:
        super().__init__(runtime, learning)
        assert self.probed is not None  # the algorithm's orders say so
        if self.probed.estimator.scheme not in _SIGNS:
            raise ConfigError(
                f"expected estimator.scheme {' or '.join(_SIGNS)} where the Main Server evaluates probes, found "
                f"{self.probed.estimator.scheme}"
            )

    def step(self, batch: Batch, key: StepKey) -> StepGenerator:
        """Upload the probes, then the clean pass, each for its loss; q + 2 passes over theta_c."""
        assert self.probed is not None
        mask_seed, probed = key.seed("dropout"), self.probed
        mu, signs = probed.estimator.mu, _SIGNS[probed.estimator.scheme]
        seeds = probed.directions(key)
        losses: list[Array] = []
        try:
            for seed in seeds:
                for sign in signs:
                    parcel = [probed.at(seed, sign * mu, lambda: self.runtime.smash(batch, mask_seed))]
                    loss = yield Perturbed(parcel.pop(), len(losses))
                    assert loss is not None  # a coupled round answers every upload
                    losses.append(loss)
        finally:
            probed.theta.restore_()
        parcel = [self.runtime.smash(batch, mask_seed)]
        clean_loss = yield parcel.pop()
        assert clean_loss is not None
        stack = namespace(clean_loss).stack
        above_P = stack(losses[:: len(signs)])
        below_P = stack(losses[1::2]) if len(signs) == 2 else clean_loss
        probed.update(key, seeds, (above_P - below_P) / (len(signs) * mu))
        return StepResult(clean_loss, probed.sent())


HOSL = Algorithm(
    name="hosl",
    summary="HOSL: zeroth-order clients whose probes the Main Server evaluates, losses come back",
    citation="HOSL, arXiv 2601.10940 (2026)",
    orders=zeroth_order,
    make_client=HoslClient,
    run_round=coupled_round,
    head=None,
    uploads="every_step",
    answers="loss",
    main_server="heron.server.loss_server:LossServer",
)
