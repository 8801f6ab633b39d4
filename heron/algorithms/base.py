"""What an algorithm is: a way to learn on a client, a round protocol, and a citation.

Adding one takes a file in this folder and a row in `ALGORITHMS`; shared code asks an algorithm for what it needs
and never compares its name.
"""

from collections.abc import Callable, Collection, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, get_args

from torch import Tensor

from heron.algorithms.aggregation import Aggregation
from heron.algorithms.descent import OptimizerName
from heron.algorithms.fed_adam import FedAdam
from heron.algorithms.fed_server import FedServer, Weighting
from heron.algorithms.hyperparameters import ClientSettings
from heron.algorithms.local import Head, LocalNetwork
from heron.algorithms.main_server import MainServer
from heron.algorithms.server_setup import ServerSetup
from heron.algorithms.update_codec import UpdateCodec
from heron.comms import Link
from heron.data import Batch
from heron.zo import derive_seed

ClientState = dict[str, Tensor]
"""What a client keeps between its rounds, serialisable: optimiser state by name; empty before the first round."""


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
        loss: clean loss that the client descends, l(f_a(f_c(x)), y), shape (), on the device; None where it knows none.
        projected_gradients: of the step's q probes, shape (q,), float32, where the client sends these; else None.
    """

    loss: Tensor | None
    projected_gradients: Tensor | None = None


@dataclass(frozen=True)
class Perturbed:
    """Smashed data of a probe, handed over for its loss.

    Attributes:
        smashed: f_c(x) at perturbed parameters, shape (B, ...).
        probe: which of the step's, from 0.
    """

    smashed: Tensor
    probe: int


StepGenerator = Generator[Tensor | Perturbed | None, Tensor | None, StepResult]
"""Yields the step's smashed data, alone or after that of its probes, each as early as it can be handed over; or None,
once, where nothing is ever uploaded. It learns, in a coupled round from the answer to each, and returns the result."""


class ClientLearner(Protocol):
    """A client's learning. One learner is resident per worker; clients are swapped in with `load`."""

    def load(self, model: Mapping[str, Tensor], state: ClientState) -> None:
        """Become the client that received `model` and kept `state`; takes ownership of the state's tensors."""
        ...

    def step(self, batch: Batch, key: StepKey) -> StepGenerator:
        """One local step."""
        ...

    def model(self) -> dict[str, Tensor]:
        """What the client changes and the Fed Server averages, by name; views that the next step changes."""
        ...

    def replayed(self) -> tuple[str, ...]:
        """Names in `model` whose change the steps' projected gradients tell, in the order of the flat buffer."""
        ...

    def state(self) -> ClientState:
        """What the client keeps for its next round."""
        ...

    def resident(self) -> dict[str, list[Tensor]]:
        """Tensors held between steps, under the keys `parameters`, `buffers` and `optimizer_state`."""
        ...


@dataclass(frozen=True)
class FedServerSetup:
    """What a Fed Server is made of.

    Attributes:
        model: initial tensors by name that clients send back.
        downlink_only: initial tensors that they receive only.
        weighting: how replies count.
        run_seed: seed of the run.
        client: hyperparameters of the clients, for servers that replay what they did.
        optimizer: what the mean of the replies becomes; None for the global model itself.
        buffers: names in `model` that are averaged whatever the optimiser.
        replayed: names in `model` that replies tell by scalars, in the order of the clients' flat buffer.
        codec: how tensors travel; None for as they are.
        aggregation: what the mean of replies is, and how far one may go.
    """

    model: Mapping[str, Tensor]
    downlink_only: Mapping[str, Tensor]
    weighting: Weighting
    run_seed: int
    client: ClientSettings
    optimizer: FedAdam | None = None
    buffers: Collection[str] = ()
    replayed: tuple[str, ...] = ()
    codec: UpdateCodec | None = None
    aggregation: Aggregation = field(default_factory=Aggregation)


RoundProtocol = Callable[[Link, FedServer, MainServer, int, list[int]], None]
Uploads = Literal["periodic", "every_step", "never"]
"""When smashed data goes up: every k-th local step, every step whatever k is, or never (there is no Main Server)."""
Answers = Literal["cut_gradient", "loss"]
"""What the Main Server sends back for each upload: its gradient at the cut, or its loss."""


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
        answers: what comes back for each upload; None in decoupled rounds.
        make_main_server: builds the Main Server.
        downlink_only: the part that a server changes for the clients: broadcast, not sent back.
        optimizers: the clients' update rules to choose from.
        has_boundary: whether its clients obey `exact` of their settings.
        fixed: hyperparameters of clients that it leaves no choice about.
    """

    name: str
    summary: str
    citation: str
    make_client: Callable[[LocalNetwork, ClientSettings], ClientLearner]
    run_round: RoundProtocol
    head: Head | None
    uploads: Uploads = "periodic"
    answers: Answers | None = None
    make_main_server: Callable[[ServerSetup], MainServer] = MainServer
    downlink_only: Literal["auxiliary"] | None = None
    optimizers: tuple[OptimizerName, ...] = get_args(OptimizerName)
    has_boundary: bool = False
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def client_settings(self, chosen: ClientSettings) -> ClientSettings:
        """What its clients have of the settings that were chosen."""
        return replace(chosen, **self.fixed)

    @property
    def trains_auxiliary(self) -> bool:
        """Whether clients train an auxiliary network, which a Main Server can then refresh."""
        return self.head == "auxiliary" and self.downlink_only is None
