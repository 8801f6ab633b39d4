"""A Main Server that learns by zeroth order, with a copy for each client: MU-SplitFed's (arXiv 2510.21155).

On each client's clean z it makes tau steps, each from one central probe of a direction of its own,

    s = [ l(f_s(z; theta_s + mu u), y) - l(f_s(z; theta_s - mu u), y) ] / 2 mu,    theta_s <- theta_s - eta_s s u

and then scores the client's perturbed smashed data. No pass builds a graph.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from heron.seeds import derive_seed
from heron.server.copies import CopyPerClientServer
from heron.server.fed_server import FedServer
from heron.server.setup import ServerSetup
from heron.server.uploads import clean_upload
from heron.wire.messages import Answer, LossAnswer, ProbeData, SmashedData, Upload
from heron.zo import SGD, Estimator, StepRecord
from heron.zo.buffers import preserved_buffers
from heron.zo.flat_parameters import FlatParameters

_MODULE = "module/"


class ZerothOrderServer(CopyPerClientServer):
    """Answers uploads with their loss: steps on clean smashed data, and scores those of probes afterwards.

    Args:
        setup: server part, loss, number and size of the steps, and the probes.

    Raises:
        SplitError: if the server part has nothing to train.
    """

    def __init__(self, setup: ServerSetup) -> None:
        super().__init__(setup)
        self._flat = FlatParameters(self.module)
        self._settings = setup.settings
        self._global_step = setup.averaging.learning_rate if setup.averaging.optimizer == "step" else 1.0
        probes = setup.estimator
        self._estimator = Estimator(probes.mu, 1, probes.distribution, "central")

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from what `state` returned: where the next round's copies start."""
        super().load_state(state)
        self._take_over_()

    def begin_client(self) -> None:
        """Back to where the round began."""
        super().begin_client()
        self._take_over_()

    def answer(self, upload: Upload) -> Answer:
        """The loss of z, at the present theta_s; where z is clean, tau steps follow.

        A probe changes nothing, running statistics included; Dropout masks are the same for all uploads of a step.
        """
        loss = self._score(upload) if isinstance(upload, ProbeData) else self._learn(clean_upload(upload))
        return LossAnswer(upload.round_index, upload.client_id, upload.local_step, loss.float())

    def end_round(self, round_index: int, fed_server: FedServer) -> None:
        """theta_s <- theta_s + eta_g (mean of the copies - theta_s); without a reply it stays."""
        before = self._start
        super().end_round(round_index, fed_server)
        if self._global_step != 1.0:
            self.load_state(self.state() | self._towards(before))

    @torch.no_grad()
    def _take_over_(self) -> None:
        """Make the values that were loaded into the module those of theta_s."""
        self._flat.theta.copy_(self._flat.work)

    @torch.no_grad()
    def _towards(self, before: Mapping[str, Tensor]) -> dict[str, Tensor]:
        names = [f"{_MODULE}{name}" for name, tensor in self.module.named_parameters() if tensor.requires_grad]
        after = self.state()
        return {name: before[name] + self._global_step * (after[name] - before[name]) for name in names}

    @torch.no_grad()
    def _learn(self, upload: SmashedData) -> Tensor:
        """Make tau steps and return the clean loss before them; running statistics follow its pass alone."""
        smashed, labels = self._placed(upload.smashed), self._placed(upload.labels)
        place = (upload.round_index, upload.client_id, upload.local_step)
        clean_loss = self._loss(smashed, labels, upload)
        self._losses.append(clean_loss)
        rule = SGD(self._learning_rate)
        state = rule.init(self._flat.theta)
        for number in range(self._settings.zeroth_steps):
            seeds = (derive_seed("server direction", self._run_seed, *place, number),)
            scalars_P = self._estimator.projected_gradients_(
                self._flat, lambda: self._loss(smashed, labels, upload), seeds
            )
            record = StepRecord(seeds, scalars_P.to(self._flat.theta.dtype))
            state = rule.replay_(state, self._flat, [record], self._estimator.distribution)
        return clean_loss

    @torch.no_grad()
    def _score(self, upload: ProbeData) -> Tensor:
        """Return the loss of a probe; where probes are joint theta_s is perturbed with it, to the same side."""
        smashed, labels = self._placed(upload.smashed), self._placed(upload.labels)
        place = (upload.round_index, upload.client_id, upload.local_step)
        pair, side = divmod(upload.probe, 2)
        try:
            if self._settings.joint_probes:
                seed = derive_seed("server probe", self._run_seed, *place, pair)
                scale = -self._estimator.mu if side else self._estimator.mu
                self._flat.perturb_(seed, scale, self._estimator.distribution)
            with preserved_buffers(self.module):
                return self._loss(smashed, labels, upload)
        finally:
            self._flat.restore_()
