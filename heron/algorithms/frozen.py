"""The frozen control: the client part keeps its random weights, only the Main Server learns.

Not in the paper, and the most important control there is: where it matches a method, that method's client training
bought nothing at that cut (docs/methods.md, "Controls"). Running statistics of BatchNorm still follow the clean pass,
else the evaluation would collapse and every gain over this control would be inflated.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from heron.algorithms.algorithm import Algorithm
from heron.algorithms.decoupled import decoupled_round
from heron.client.local import LocalNetwork
from heron.client.step import ClientState, StepGenerator, StepKey, StepResult
from heron.data import Batch
from heron.wire.learning import Learning


class FrozenClient:
    """A client that computes smashed data and learns nothing; only its buffers travel.

    Args:
        local: client part.
        learning: ignored, there is nothing to set.
    """

    def __init__(self, local: LocalNetwork, learning: Learning) -> None:  # noqa: ARG002 - one signature for all
        self._local = local

    def load(self, model: Mapping[str, Tensor], state: ClientState) -> None:  # noqa: ARG002 - there is no state
        """Take the averaged buffers."""
        self._local.load_buffers_(model)

    def step(self, batch: Batch, key: StepKey) -> StepGenerator:
        """One forward pass."""
        with torch.no_grad():
            smashed = self._local.smash_pass(batch, key.seed("dropout"))
        yield smashed
        return StepResult(None)

    def model(self) -> dict[str, Tensor]:
        """The buffers."""
        return self._local.buffers()

    def replayed(self) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def state(self) -> ClientState:
        """Nothing."""
        return {}

    def resident(self) -> dict[str, list[Tensor]]:
        """The client part."""
        return {
            "parameters": list(self._local.module.parameters()),
            "buffers": list(self._local.buffers().values()),
            "optimizer_state": [],
        }


FROZEN = Algorithm(
    name="frozen",
    summary="control: the client part never changes, the Main Server learns on its smashed data",
    citation="control, not from a paper",
    make_client=FrozenClient,
    run_round=decoupled_round,
    head=None,
    control="lower",
)
