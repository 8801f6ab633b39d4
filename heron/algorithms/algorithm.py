"""The definition of an algorithm: a way to learn on a client, a round protocol, and a citation.

Adding one takes a file in this folder and a row in `ALGORITHMS`; shared code asks an algorithm for what it needs
and never compares its name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from heron.client.local import Head, LocalNetwork
from heron.client.step import ClientLearner
from heron.server.fed_server import FedServer
from heron.server.main_server import MainServer
from heron.server.setup import ServerSetup
from heron.wire import Link
from heron.wire.groups import Settings
from heron.wire.learning import Learning
from heron.zo.rules import OptimizerName

RoundProtocol = Callable[[Link, FedServer, MainServer, int, list[int]], None]
Uploads = Literal["periodic", "every_step", "never"]
"""When smashed data goes up: every k-th local step, every step whatever k is, or never (there is no Main Server)."""
Answers = Literal["cut_gradient", "loss"]
"""What the Main Server sends back for each upload: its gradient at the cut, or its loss."""
Control = Literal["lower", "upper", "coupled"]
"""Measure for other rows: a client that learns nothing, exact gradients in the same round, or split learning."""


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
        fixed: settings of the clients' learning that it leaves no choice about; those of a section as a mapping.
        control: what other rows are compared with it for; None for most. At most one row has each.
    """

    name: str
    summary: str
    citation: str
    make_client: Callable[[LocalNetwork, Learning], ClientLearner]
    run_round: RoundProtocol
    head: Head | None
    uploads: Uploads = "periodic"
    answers: Answers | None = None
    make_main_server: Callable[[ServerSetup], MainServer] = MainServer
    downlink_only: Literal["auxiliary"] | None = None
    optimizers: tuple[OptimizerName, ...] = get_args(OptimizerName)
    has_boundary: bool = False
    fixed: Mapping[str, Any] = field(default_factory=dict)
    control: Control | None = None

    def learning(self, settings: Settings) -> Learning:
        """Settings of its clients' learning, those that it fixes included."""
        return Learning.of(settings, self.fixed)

    @property
    def trains_auxiliary(self) -> bool:
        """Whether clients train an auxiliary network, which a Main Server can then refresh."""
        return self.head == "auxiliary" and self.downlink_only is None
