"""A Fed Server that averages projected gradients and replays their mean: no model goes up.

If the clients of a round share one schedule of directions and use plain SGD, the mean of their models is, in exact
arithmetic and for any number of local steps, one walk along the mean scalars (ALGORITHMS 4a):

    theta <- theta - (eta / q) sum_m (sum_i w_i s_{i,m}) u_m,    w_i = weight_i / sum of weights

`P` probes of a step.
"""

import torch
from torch import Tensor, nn

from heron.algorithms.base import FedServerSetup
from heron.algorithms.fed_server import FedServer
from heron.comms import Reply, ScalarReply
from heron.errors import ConfigError, MessageError, TrainingError
from heron.zo import SGD, FlatParameters, StepRecord, derive_seed, replay_


def shared_directions(run_seed: int, round_index: int, local_step: int, num_probes: int) -> tuple[int, ...]:
    """Seeds of the q directions of a local step, the same for every client of the round."""
    place = (run_seed, round_index, local_step)
    return tuple(derive_seed("shared direction", *place, probe) for probe in range(num_probes))


class ReplayingFedServer(FedServer):
    """Averages scalars and replays the mean; a client with fewer local steps counts 0 in those it did not make.

    Args:
        setup: theta_c as what clients only receive, buffers as what they send back; seed, learning rate, estimator.

    Raises:
        ConfigError: if the mean is to be given to an optimiser.
    """

    def __init__(self, setup: FedServerSetup) -> None:
        if setup.optimizer is not None:
            raise ConfigError(
                "expected fed_server.optimizer average where clients send scalars, whose mean is replayed by SGD; "
                "found another one"
            )
        super().__init__(setup.model, setup.downlink_only, setup.weighting)
        assert setup.client.estimator is not None  # checked by the client
        self._estimator = setup.client.estimator
        self._client = setup.client
        self._run_seed = setup.run_seed
        self._names = list(self.downlink_only)  # the order of theta_c in one flat buffer
        self._round_index = 0
        self._sums_P: list[Tensor] = []
        self._total_weight = 0.0

    def accept(self, reply: Reply) -> None:
        """Add a client's scalars to the sums, float64, and its buffers to their mean.

        Raises:
            MessageError: if it does not hold q scalars for each step, or other tensors than the buffers.
            TrainingError: if one is not finite.
        """
        steps_P = self._steps(reply)
        super().accept(reply)
        weight = self.weight(reply)
        for local_step, scalars_P in enumerate(steps_P):
            if local_step == len(self._sums_P):
                self._sums_P.append(torch.zeros_like(scalars_P))
            self._sums_P[local_step] += weight * scalars_P
        self._total_weight += weight
        self._round_index = reply.round_index

    def average(self) -> tuple[float, int]:
        """theta_c <- theta_c after the steps of mean scalars; buffers <- their mean; without a reply both stay."""
        sums_P, self._sums_P = self._sums_P, []
        weight, self._total_weight = self._total_weight, 0.0
        if sums_P:
            self._replay([total_P / weight for total_P in sums_P])
        return super().average()

    def _replay(self, steps_P: list[Tensor]) -> None:
        model = nn.ParameterList([self.downlink_only[name] for name in self._names])
        flat = FlatParameters(model, kernel=self._client.kernel)
        records = [
            StepRecord(
                shared_directions(self._run_seed, self._round_index, local_step, len(scalars_P)),
                scalars_P.to(flat.theta),
            )
            for local_step, scalars_P in enumerate(steps_P)
        ]
        rule = SGD(self._client.rate(self._round_index))
        replay_(rule, rule.init(flat.theta), flat, records, self._estimator.distribution)
        self.downlink_only = dict(zip(self._names, flat.named_tensors().values(), strict=True))

    def _steps(self, reply: Reply) -> tuple[Tensor, ...]:
        """The scalars of each local step, shape (P,), float64, on the host."""
        who = f"client {reply.client_id} in round {reply.round_index}"
        if not isinstance(reply, ScalarReply):
            raise MessageError(
                f"{who}: expected a ScalarReply, found {type(reply).__name__}; it runs another algorithm"
            )
        scalars, num_probes = reply.projected_gradients, self._estimator.num_probes
        expected = (reply.num_steps * num_probes,)
        if scalars.dtype != torch.float32 or scalars.shape != expected:
            raise MessageError(
                f"{who}: expected projected gradients as float32 of shape {expected}, one for each of {num_probes} "
                f"probes of {reply.num_steps} steps, found {scalars.dtype} {tuple(scalars.shape)}"
            )
        if not bool(torch.isfinite(scalars).all()):
            raise TrainingError(
                f"expected finite projected gradients, found NaN or infinity from {who}; lower client.learning_rate or "
                f"check its data"
            )
        return torch.split(scalars.cpu().double(), num_probes)
