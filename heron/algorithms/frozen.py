"""The frozen control: the client part keeps its random weights, only the Main Server learns.

Not in the paper, and the most important control there is: where it matches a method, that method's client training
bought nothing at that cut (docs/methods.md, "Controls"). Running statistics of BatchNorm still follow the clean pass,
else the evaluation would collapse and every gain over this control would be inflated.
"""

from heron.algorithms.algorithm import Algorithm
from heron.algorithms.decoupled import decoupled_round
from heron.client.learner import Learner
from heron.client.runtime import Orders
from heron.client.step import StepGenerator, StepResult
from heron.data import Batch
from heron.seeds import StepKey


class FrozenClient(Learner):
    """A client that computes smashed data and learns nothing; only its buffers travel."""

    def step(self, batch: Batch, key: StepKey) -> StepGenerator:
        """Make one forward pass."""
        yield self.runtime.smash(batch, key.seed("dropout"))
        return StepResult(None)


FROZEN = Algorithm(
    name="frozen",
    summary="control: the client part never changes, the Main Server learns on its smashed data",
    citation="control, not from a paper",
    orders=lambda _: Orders(),
    make_client=FrozenClient,
    run_round=decoupled_round,
    head=None,
    control="lower",
)
