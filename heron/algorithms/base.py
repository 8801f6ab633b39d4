"""What an algorithm is: a way to learn on a client, a round protocol, and a citation.

Adding one takes a file in this folder and a row in `ALGORITHMS`; shared code asks an algorithm for what it needs
and never compares its name.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from torch import Tensor

from heron.algorithms.fed_server import FedServer
from heron.algorithms.local import Head, LocalNetwork
from heron.algorithms.main_server import MainServer, ServerSetup
from heron.comms import Link
from heron.data import Batch
from heron.zo import Estimator, derive_seed

OptimizerName = Literal["sgd", "momentum", "adam"]

ClientState = dict[str, Tensor]
"""What a client keeps between its rounds, serialisable: optimiser state by name; empty before the first round."""


@dataclass(frozen=True)
class ClientSettings:
    """Hyperparameters of a client's learning.

    Attributes:
        optimizer: update rule of theta_l.
        learning_rate: its step size eta_l, > 0.
        keep_state: whether the optimiser state survives from one round of the client to its next.
        estimator: probes of a zeroth-order client, None for no probes at all; first-order clients ignore it.
        exact: how many modules of a zeroth-order client, counted from its end, train exactly (`heron.split.boundary`).
        exact_learning_rate: step size of that part, > 0; None for `learning_rate`.
    """

    optimizer: OptimizerName = "adam"
    learning_rate: float = 1e-3
    keep_state: bool = True
    estimator: Estimator | None = field(default_factory=Estimator)
    exact: int | Literal["all"] = 0
    exact_learning_rate: float | None = None


@dataclass(frozen=True)
class StepKey:
    """Where a local step stands in a run: everything random in it is a function of this.

    Attributes:
        run_seed: seed of the run.
        round_index: from 0.
        client_id: from 0.
        local_step: from 0 within the round.
    """

    run_seed: int
    round_index: int
    client_id: int
    local_step: int

    def seed(self, domain: str, *fields: int) -> int:
        """Seed for one purpose within this step, e.g. `key.seed("direction", probe)`."""
        return derive_seed(domain, self.run_seed, self.round_index, self.client_id, self.local_step, *fields)


@dataclass(frozen=True)
class StepResult:
    """Outcome of one local step.

    Attributes:
        loss: clean local loss l(f_a(f_c(x)), y), shape (), on the device; None where the client computes none.
    """

    loss: Tensor | None


StepGenerator = Generator[Tensor | None, Tensor | None, StepResult]
"""Yields once: the step's smashed data as early as it can be handed over, or None where nothing is ever uploaded. Then
it learns, in a coupled round from the cut gradient it is sent, and returns the result."""


class ClientLearner(Protocol):
    """A client's learning. One learner is resident per worker; clients are swapped in with `load`."""

    def load(self, model: Mapping[str, Tensor], state: ClientState) -> None:
        """Become the client that received `model` and kept `state`; takes ownership of the state's tensors."""
        ...

    def step(self, batch: Batch, key: StepKey) -> StepGenerator:
        """One local step."""
        ...

    def model(self) -> dict[str, Tensor]:
        """The tensors this algorithm sends to the Fed Server, by name; views that the next step changes."""
        ...

    def state(self) -> ClientState:
        """What the client keeps for its next round."""
        ...

    def resident(self) -> dict[str, list[Tensor]]:
        """Tensors held between steps, under the keys `parameters`, `buffers` and `optimizer_state`."""
        ...


RoundProtocol = Callable[[Link, FedServer, MainServer, int, list[int]], None]
Uploads = Literal["periodic", "every_step", "never"]
"""When smashed data goes up: every k-th local step, every step whatever k is, or never (there is no Main Server)."""


@dataclass(frozen=True)
class Algorithm:
    """One row of the registry.

    Attributes:
        name: key in `ALGORITHMS` and on the command line.
        summary: one line for a person.
        citation: authors, venue or arXiv number.
        make_client: builds the learner.
        run_round: the round protocol, `decoupled_round` or `coupled_round`.
        head: what clients compute a local loss with; None where they have none.
        uploads: when they send smashed data.
        make_main_server: builds the Main Server.
        downlink_only: the part that the server trains for the clients: broadcast, not sent back.
        has_boundary: whether its clients obey `exact` of their settings.
    """

    name: str
    summary: str
    citation: str
    make_client: Callable[[LocalNetwork, ClientSettings], ClientLearner]
    run_round: RoundProtocol
    head: Head | None
    uploads: Uploads = "periodic"
    make_main_server: Callable[[ServerSetup], MainServer] = MainServer
    downlink_only: Head | None = None
    has_boundary: bool = False

    @property
    def trains_auxiliary(self) -> bool:
        """Whether clients train an auxiliary network, which a Main Server can then refresh."""
        return self.head == "auxiliary" and self.downlink_only is None
