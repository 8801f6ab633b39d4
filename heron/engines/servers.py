"""The servers' side of a federation, without a link: Fed Server, Main Server, their rounds and their state."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from heron.algorithms import Algorithm
from heron.engines.agreement import travelling
from heron.engines.participants import check_participants, drawn_participants
from heron.engines.round_result import RoundResult
from heron.errors import ConfigError
from heron.server.fed_servers import make_fed_server
from heron.server.setup import ServerSetup
from heron.split import SplitModel
from heron.split.criterion import Criterion
from heron.wire import Ledger, Link
from heron.wire.fleet import Fleet
from heron.wire.groups import Averaging
from heron.wire.packing import pack, unpack
from heron.wire.terms import Terms

if TYPE_CHECKING:
    from heron.engines.privacy import PrivacyAccount

_LEAST_ROBUST = 3


class Servers:
    """Both servers of one run; clients are reached by a link that an engine brings.

    Args:
        terms: of the run.
        algorithm: the row that they name.
        split: the cut network; its server part is trained in place.
        criterion: mean loss over a batch.
        fleet: clients whose boundaries differ; None where all have one.

    Attributes:
        terms: of the run.
        settings: all groups of settings.
        algorithm: the row of the registry.
        split: the cut network.
        criterion: mean loss over a batch.
        fleet: clients whose boundaries differ, or None.
        learning: settings of the clients' learning.
        fed_server: averages what clients train.
        main_server: trains the server part.
        ledger: traffic so far; links count in it.
        next_round: t of the next round, from 0.
        client_examples: examples that clients have trained on so far, those of dropped clients included; links count.
        num_clients: number of clients, N.
        account: what clients have spent of their privacy; None where it is off.
        exposure: how often an example is uploaded, and what is done to it (`heron.engines.exposure`).

    Raises:
        ConfigError: if a round asks for more clients than there are.
    """

    def __init__(
        self,
        terms: Terms,
        algorithm: Algorithm,
        split: SplitModel,
        criterion: Criterion,
        fleet: Fleet | None = None,
    ) -> None:
        settings = terms.settings
        self.terms = terms
        self.settings = settings
        self.algorithm = algorithm
        self.split = split
        self.criterion = criterion
        self.fleet = fleet
        self.learning = algorithm.learning(settings)
        self.num_clients = settings.clients.total
        self.account: PrivacyAccount | None = None
        self.exposure: dict[str, Any] = {}
        self.ledger = Ledger()
        self.next_round = 0
        self.client_examples = 0
        check_participants(settings.clients.per_round, self.num_clients)
        check_robust(settings.fed_server, settings.clients.per_round or self.num_clients)
        self._travelling = travelling(terms, split)
        self.fed_server = make_fed_server(terms, self._travelling, self.learning, fleet)
        setup = ServerSetup(
            split, criterion, settings.seed, settings.server, self.learning.settings.estimator, settings.fed_server
        )
        self.main_server = algorithm.make_main_server(setup)

    def participants(self, round_index: int) -> list[int]:
        """The clients of a round, ascending: drawn without replacement from (seed, round)."""
        return drawn_participants(self.settings, round_index)

    def all_participants(self) -> list[list[int]]:
        """The clients of every planned round."""
        return [self.participants(round_index) for round_index in range(self.settings.rounds)]

    def run_round(self, link: Link, participants: list[int], *, is_charged: bool = False) -> RoundResult:
        """Run the next round.

        Args:
            link: reaches the clients.
            participants: the clients S_t, ascending, or those of them that can be reached.
            is_charged: whether the clients have been charged for their privacy, as they were asked.

        Returns:
            Outcome of the round.

        Raises:
            TrainingError: if a loss or an update is not finite; the servers cannot be used afterwards.
        """
        round_index = self.next_round
        if self.account is not None and not is_charged:
            self.account.charge(participants)
        self.split.train()
        self.fed_server.prepare(link, round_index, participants)
        self.algorithm.run_round(link, self.fed_server, self.main_server, round_index, participants)
        self.fed_server.settle(link)
        client_loss, num_replies = self.fed_server.average()
        self.main_server.after_average(round_index, self.fed_server)
        server_loss = self.main_server.take_mean_loss()
        self.next_round += 1
        return RoundResult(
            round_index,
            participants,
            num_replies,
            server_loss,
            client_loss,
            num_bounded=self.fed_server.num_bounded,
            faults=self.fed_server.faults,
        )

    def save_point(self) -> Callable[[], None]:
        """Return a function that undoes all later rounds, but not their traffic.

        The function holds a copy of the Main Server's state as long as it exists.
        """
        undo_main_server, undo_fed_server = self.main_server.save_point(), self.fed_server.save_point()
        next_round = self.next_round

        def undo() -> None:
            undo_main_server()
            undo_fed_server()
            self.next_round = next_round

        return undo

    def load_global_model(self) -> SplitModel:
        """Load the global parameters into the network, {theta_c, theta_s} and the auxiliary network, and return it."""
        with torch.no_grad():
            for name, tensor in self.fed_server.global_model().items():
                self._travelling[name].copy_(tensor)
        return self.split

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """State that the servers' next round depends on: (tensors by name, JSON-serialisable facts)."""
        groups = self.fed_server.state()
        if self.algorithm.uploads != "never":
            groups["main_server"] = self.main_server.state()
        return pack(groups), {
            "next_round": self.next_round,
            "client_examples": self.client_examples,
            "ledger": self.ledger.to_dict(),
        } | ({} if self.account is None else {"privacy": self.account.state()})

    def load_state(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Continue from a result of `state`.

        Args:
            tensors: tensors of the result.
            facts: its other values.
        """
        self.load_tensors(tensors)
        self.next_round = int(facts["next_round"])
        self.client_examples = int(facts["client_examples"])
        self.ledger = Ledger.from_dict(facts["ledger"])
        if self.account is not None:
            self.account.load_state(facts["privacy"])

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Load the tensors of a result of `state`, which determine the global model."""
        groups = unpack({name: tensor.to(self.settings.device) for name, tensor in tensors.items()})
        if "main_server" in groups:
            self.main_server.load_state(groups["main_server"])
        self.fed_server.load_state(groups)


def check_robust(averaging: Averaging, num_participants: int) -> None:
    """Refuse a median or trimmed mean of so few replies that nothing is left out.

    Raises:
        ConfigError: with the number.
    """
    if averaging.aggregation != "mean" and num_participants < _LEAST_ROBUST:
        raise ConfigError(
            f"expected at least {_LEAST_ROBUST} clients in a round with fed_server.aggregation="
            f"{averaging.aggregation}, found {num_participants}; raise clients.per_round or clients.total, or use mean "
            f"and fed_server.max_norm"
        )
