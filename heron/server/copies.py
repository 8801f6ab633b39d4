"""A Main Server with one copy of its model for each client, averaged every round: SplitFed V1's.

"SplitFed: When Federated Learning Meets Split Learning", Thapa, Chamikara, Camtepe, Sun, AAAI 2022 (arXiv 2004.12088).
The moments of the optimiser are averaged with the copies (docs/decisions/0008-sflv1-moments.md), so that with one
client this is plain training; clients take turns, so memory does not grow with their number.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import normalize

from heron.server.fed_server import FedServer
from heron.server.main_server import MainServer
from heron.server.setup import ServerSetup
from heron.split import persistent_buffers
from heron.split.buffer_kinds import is_unit
from heron.split.untouched import same_bits
from heron.wire.averaging import RunningMean


class CopyPerClientServer(MainServer):
    """Every client of a round starts from the same theta_s and trains its own copy.

    Args:
        setup: server part, loss and optimiser.
    """

    def __init__(self, setup: ServerSetup) -> None:
        super().__init__(setup)
        self._mean = RunningMean()
        self._start = _copy(self.state())
        self._changed: set[str] = set()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from what `state` returned: where the next round's copies start."""
        super().load_state(state)
        self._start = _copy(self.state())

    def begin_client(self) -> None:
        """Back to where the round began."""
        super().load_state(self._start)

    def end_client(self, weight: float) -> None:
        """Count this client's copy; that of a client that drops out is left out."""
        state = self.state()
        self._mean.add(
            {name: value.to(torch.int64) if _is_counter(name) else value for name, value in state.items()}, weight
        )
        self._changed |= {name for name in self._buffers() if not same_bits(state[name], self._start[name])}

    def end_round(self, round_index: int, fed_server: FedServer) -> None:  # noqa: ARG002 - one signature for all
        """theta_s <- the mean of the copies, the largest step counter; without a reply it stays.

        Of buffers, those that no copy changed stay as they are, and vectors of length 1 get this length again.
        """
        mean = {name: value.float() if _is_counter(name) else value for name, value in self._mean.take().items()}
        for name in self._buffers() if mean else ():
            if name not in self._changed:
                mean[name] = self._start[name]
            elif is_unit(self._start[name]):
                mean[name] = normalize(mean[name], dim=0)
        self._changed.clear()
        self.load_state(mean or self._start)

    def _buffers(self) -> list[str]:
        """Names of the buffers in the state."""
        return [f"module/{name}" for name in persistent_buffers(self.module)]


def _is_counter(name: str) -> bool:
    """Return whether this is an optimiser's step counter, which torch keeps as a float."""
    return name.startswith("optimizer/") and name.endswith("/step")


def _copy(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in state.items()}
