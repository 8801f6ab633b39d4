"""HOSL: zeroth-order clients whose probes the Main Server evaluates.

arXiv 2601.10940 (2026). The client descends the loss of the whole network,

    L(v) = l(f_s(f_c(x; v); theta_s), y),

without an auxiliary network: it uploads f_c(x; v + mu u_p) for each of its q probes, is told the loss of each, and
uploads the clean z last, on which the Main Server makes its first-order step. All losses are of one theta_s, and one z
is alive at a time. A step costs the client (1 + q) F_c (central: 1 + 2 q) and as many uploads, each answered by one
scalar; the Main Server as many forwards and one backward pass.
"""

from typing import Literal

import torch
from torch import Tensor

from heron.algorithms.algorithm import Algorithm
from heron.algorithms.coupled import coupled_round
from heron.client.local import LocalNetwork
from heron.client.step import Perturbed, StepGenerator, StepKey, StepResult
from heron.client.zeroth_order import ZerothOrderClient
from heron.data import Batch
from heron.errors import ConfigError
from heron.server.main_server import MainServer
from heron.server.uploads import clean_upload
from heron.wire import Answer, LossAnswer, ProbeData, Upload
from heron.wire.learning import Learning
from heron.zo import preserved_buffers

_SIGNS: dict[str, tuple[Literal[1, -1], ...]] = {"one_sided": (1,), "central": (1, -1)}
"""By scheme: on which sides of the clean point a direction is probed."""


class HoslClient(ZerothOrderClient):
    """A backprop-free client that is told the losses of what it uploads.

    Args:
        local: client part.
        learning: update rule, learning rate and estimator (mu, q).

    Raises:
        ConfigError: if the probes are not finite differences.
    """

    def __init__(self, local: LocalNetwork, learning: Learning) -> None:
        super().__init__(local, learning)
        if self._learner.estimator.scheme not in _SIGNS:
            raise ConfigError(
                f"expected estimator.scheme {' or '.join(_SIGNS)} where the Main Server evaluates probes, found "
                f"{self._learner.estimator.scheme}"
            )

    def step(self, batch: Batch, key: StepKey) -> StepGenerator:
        """The probes, then the clean pass, each handed over for its loss; q + 2 passes over theta_c."""
        mask_seed, learner = key.seed("dropout"), self._learner
        mu, signs = learner.estimator.mu, _SIGNS[learner.estimator.scheme]
        seeds = learner.directions(key)
        losses: list[Tensor] = []
        try:
            for seed in seeds:
                for sign in signs:
                    parcel = [self._perturbed_pass(batch, mask_seed, seed, sign * mu)]
                    loss = yield Perturbed(parcel.pop(), len(losses))
                    assert loss is not None  # a coupled round answers every upload
                    losses.append(loss)
        finally:
            learner.flat.restore_()
        with torch.no_grad():
            parcel = [self._local.smash_pass(batch, mask_seed)]
        clean_loss = yield parcel.pop()
        assert clean_loss is not None
        above_P = torch.stack(losses[:: len(signs)])
        below_P = torch.stack(losses[1::2]) if len(signs) == 2 else clean_loss
        learner.update(key, seeds, (above_P - below_P) / (len(signs) * mu))
        return StepResult(clean_loss, learner.sent())

    def _perturbed_pass(self, batch: Batch, mask_seed: int, seed: int, scale: float) -> Tensor:
        """Smashed data at theta_c + scale u; running statistics stay as they are."""
        self._learner.flat.perturb_(seed, scale, self._learner.estimator.distribution)
        with torch.no_grad(), preserved_buffers(self._local.module):
            return self._local.smash_pass(batch, mask_seed)


class LossServer(MainServer):
    """Answers uploads with their loss: evaluates probes, trains on clean smashed data.

    Args:
        setup: server part, loss and optimiser.
    """

    def answer(self, upload: Upload) -> Answer:
        """The loss of z at the present theta_s; where z is clean, one step of backpropagation follows.

        A probe changes nothing, running statistics included; Dropout masks are the same for all uploads of a step.
        """
        if isinstance(upload, ProbeData):
            smashed, labels = self._placed(upload.smashed), self._placed(upload.labels)
            with torch.no_grad(), preserved_buffers(self.module):
                loss = self._loss(smashed, labels, upload)
        else:
            self.train(clean_upload(upload))
            loss = self._losses[-1]
        return LossAnswer(upload.round_index, upload.client_id, upload.local_step, loss.float())


HOSL = Algorithm(
    name="hosl",
    summary="HOSL: zeroth-order clients whose probes the Main Server evaluates, losses come back",
    citation="HOSL, arXiv 2601.10940 (2026)",
    make_client=HoslClient,
    run_round=coupled_round,
    head=None,
    uploads="every_step",
    answers="loss",
    make_main_server=LossServer,
)
