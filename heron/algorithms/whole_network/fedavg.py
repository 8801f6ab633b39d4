"""FedAvg: every client trains the whole network; there is no cut and no Main Server.

"Communication-Efficient Learning of Deep Networks from Decentralized Data", McMahan, Moore, Ramage, Hampson,
Aguera y Arcas, AISTATS 2017 (arXiv 1602.05629).
"""

from heron.algorithms.algorithm import Algorithm, first_order
from heron.algorithms.decoupled import decoupled_round
from heron.client.learner import Learner
from heron.client.private import PrivateGradientClient
from heron.client.step import StepGenerator, StepResult
from heron.data import Batch
from heron.seeds import StepKey


class FedAvgClient(Learner):
    """A first-order client that holds f_c and f_s."""

    def step(self, batch: Batch, key: StepKey) -> StepGenerator:
        """Make one step of backpropagation through the whole network; nothing is uploaded."""
        yield None
        assert self._exact is not None  # the algorithm's orders say so
        finished = self._exact.forward(batch, key).finish()
        self.update_exact(key)
        return StepResult(finished.loss)


FEDAVG = Algorithm(
    name="fedavg",
    summary="FedAvg: first-order clients hold and train the whole network, nothing is split",
    citation="McMahan, Moore, Ramage, Hampson, Aguera y Arcas, AISTATS 2017, arXiv 1602.05629",
    orders=first_order,
    make_client=FedAvgClient,
    run_round=decoupled_round,
    head="server",
    uploads="never",
    make_private=lambda runtime, learning: PrivateGradientClient(runtime, learning, upload_period=None),
)
