"""FedAvg: every client trains the whole network; there is no cut and no Main Server.

"Communication-Efficient Learning of Deep Networks from Decentralized Data", McMahan, Moore, Ramage, Hampson,
Aguera y Arcas, AISTATS 2017 (arXiv 1602.05629).
"""

import torch

from heron.algorithms.algorithm import Algorithm
from heron.algorithms.decoupled import decoupled_round
from heron.client.first_order import LocalLossClient
from heron.client.step import StepGenerator, StepKey, StepResult
from heron.data import Batch


class FedAvgClient(LocalLossClient):
    """A first-order client that holds f_c and f_s."""

    def step(self, batch: Batch, key: StepKey) -> StepGenerator:
        """One step of backpropagation through the whole network; nothing is uploaded."""
        yield None
        with torch.enable_grad():
            each = None if self._local.micro_batch is None else self._backward
            loss = self._local.loss_pass(batch, key.seed("dropout"), each)
            if each is None:
                self._backward(loss)
        self._update(key)
        return StepResult(loss.detach())


FEDAVG = Algorithm(
    name="fedavg",
    summary="FedAvg: first-order clients hold and train the whole network, nothing is split",
    citation="McMahan, Moore, Ramage, Hampson, Aguera y Arcas, AISTATS 2017, arXiv 1602.05629",
    make_client=FedAvgClient,
    run_round=decoupled_round,
    head="server",
    uploads="never",
)
