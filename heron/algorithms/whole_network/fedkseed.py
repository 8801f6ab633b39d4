"""FedKSeed: clients hold the whole network and learn it along K directions that are fixed for the whole run.

"Federated Full-Parameter Tuning of Billion-Sized Language Models with Communication Cost under 18 Kilobytes", Qin,
Chen, Qian, Ding, Li, Deng, ICML 2024 (arXiv 2312.06353). A probe of a local step draws j from the K candidates:

    s = [ l(theta + mu u_j) - l(theta - mu u_j) ] / 2 mu,    theta <- theta - eta s u_j,    bin_j <- bin_j + s

and the client sends its K bins. The server adds their mean to those of all rounds; any model of the run is

    theta_0 - eta sum_j bin_j u_j

and bins go down in place of a model (docs/methods.md, "Candidate directions"). The published central difference is
`estimator.scheme=central`. With `estimator.sampling=pro` j is drawn with the softmax of the normalised mean |s| of its
bin, for which clients send those sums, too. There is no Main Server.
"""

from collections.abc import Mapping

from heron.algorithms.algorithm import Algorithm, zeroth_order
from heron.algorithms.decoupled import decoupled_round
from heron.arrays import Array
from heron.client.learner import Learner
from heron.client.runtime import Runtime
from heron.client.step import ClientState, StepGenerator, StepResult
from heron.data import Batch
from heron.seeds import StepKey
from heron.wire.candidates import PROBABILITIES, Candidates
from heron.wire.learning import Learning


class FedKSeedClient(Learner):
    """A backprop-free client that holds f_c and f_s.

    Args:
        runtime: the whole network.
        learning: learning rate, estimator (mu, q) and candidates.

    Raises:
        ConfigError: if there is no candidate.
    """

    def __init__(self, runtime: Runtime, learning: Learning) -> None:
        super().__init__(runtime, learning)
        self._candidates = Candidates(learning)
        self._probabilities_K: Array | None = None

    def load(self, model: Mapping[str, Array], state: ClientState) -> None:
        """Take parameters, buffers and the probabilities of the round's draws from the broadcast."""
        rest = dict(model)
        self._probabilities_K = rest.pop(PROBABILITIES, None)
        super().load(rest, state)

    def step(self, batch: Batch, key: StepKey) -> StepGenerator:
        """Make one zeroth-order step along drawn candidates; nothing is uploaded."""
        yield None
        assert self.probed is not None  # the algorithm's orders say so
        mask_seed, probed = key.seed("dropout"), self.probed
        place = (key.round_index, key.client_id, key.local_step)
        drawn = self._candidates.draw(place, probed.estimator.num_probes, self._probabilities_K)
        seeds = [self._candidates.seeds[number] for number in drawn]
        _, clean_loss = self.runtime.clean(batch, mask_seed)
        scalars_P = probed.estimator.projected_gradients_(
            probed.theta, lambda: self.runtime.loss(batch, mask_seed), seeds, clean_loss
        )
        probed.update(key, seeds, scalars_P)
        return StepResult(clean_loss, probed.sent(), drawn)


FEDKSEED = Algorithm(
    name="fedkseed",
    summary="FedKSeed: zeroth-order clients hold the whole network, a fixed pool of directions, replies of K sums",
    citation="Qin, Chen, Qian, Ding, Li, Deng, ICML 2024, arXiv 2312.06353",
    orders=zeroth_order,
    make_client=FedKSeedClient,
    run_round=decoupled_round,
    head="server",
    uploads="never",
    optimizers=("sgd",),
    draws_candidates=True,
    fixed={"client": {"keep_state": False}, "update": "scalars", "seed_groups": 1},
)
