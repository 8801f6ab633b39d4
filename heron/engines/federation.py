"""All parties of a split federation in one process: the reference engine.

Clients are swapped through one resident network; messages pass a channel that counts encoded bytes and, in `wire`
mode, encodes and decodes every one.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, Adam, Optimizer
from torch.utils.data import Dataset

from heron.algorithms import (
    Algorithm,
    ClientData,
    ClientSettings,
    ClientState,
    Criterion,
    FedServer,
    LocalNetwork,
    LocalPlan,
    MainServer,
    client_round,
)
from heron.comms import Channel, ClientReply, Ledger, ModelBroadcast, SmashedData
from heron.data import fetch
from heron.engines.packing import pack, unpack
from heron.errors import ConfigError
from heron.split import SplitModel, check_trainable
from heron.zo import derive_seed

Examples = Dataset[tuple[Tensor, ...]]


@dataclass(frozen=True)
class FederationSettings:
    """How a federation trains.

    Attributes:
        seed: seed of the run.
        clients_per_round: participants S_t of a round; None for all.
        batch_size: examples per local step (B).
        micro_batch: examples per forward pass on a client; None for the whole batch.
        local_steps: local steps per round (h); None for one pass over a client's data.
        upload_period: local steps per upload of smashed data (k).
        client: hyperparameters of the clients' learning.
        server_optimizer: `"adam"` or `"sgd"`.
        server_learning_rate: eta_s.
        wire: encode and decode every message, as a network would.
        device: where everything computes.
    """

    seed: int = 0
    clients_per_round: int | None = None
    batch_size: int = 32
    micro_batch: int | None = None
    local_steps: int | None = None
    upload_period: int = 1
    client: ClientSettings = field(default_factory=ClientSettings)
    server_optimizer: Literal["adam", "sgd"] = "adam"
    server_learning_rate: float = 1e-3
    wire: bool = False
    device: str = "cpu"


@dataclass(frozen=True)
class RoundResult:
    """What a round did.

    Attributes:
        round_index: t, from 0.
        participants: clients S_t, ascending.
        server_loss: mean training loss of the Main Server.
        client_loss: mean local loss of the clients; NaN where they compute none.
    """

    round_index: int
    participants: list[int]
    server_loss: float
    client_loss: float


class Federation:
    """Clients, Main Server and Fed Server of one run.

    Args:
        split: the cut network; trained in place.
        algorithm: a row of `ALGORITHMS`.
        dataset: training examples.
        partition: each client's positions in the data set, shape (n_i,) each.
        settings: how to train.
        criterion: mean loss over a batch; cross-entropy by default.

    Raises:
        SplitError: if the network cannot be trained this way.
        ConfigError: if a round asks for more clients than there are.
    """

    def __init__(
        self,
        split: SplitModel,
        algorithm: Algorithm,
        dataset: Examples,
        partition: Sequence[np.ndarray],
        settings: FederationSettings,
        criterion: Criterion = cross_entropy,
    ) -> None:
        self.split = split.to(settings.device)
        self.algorithm = algorithm
        self.settings = settings
        self.dataset = dataset
        self.partition = list(partition)
        self.ledger = Ledger()
        self.next_round = 0
        self._check()
        self.local = LocalNetwork(
            self.split, criterion, with_auxiliary=algorithm.needs_auxiliary, micro_batch=settings.micro_batch
        )
        self.learner = algorithm.make_client(self.local, settings.client)
        self.fed_server = FedServer(self.learner.model())
        self.main_server = MainServer(self.split.server, criterion, self._make_server_optimizer, settings.seed)
        self._states: dict[int, ClientState] = {}
        self._channel = Channel(self.ledger, wire=settings.wire)

    def run_round(self) -> RoundResult:
        """Run the next round.

        Raises:
            TrainingError: if a loss or an update is not finite; the federation is then of no further use.
        """
        round_index = self.next_round
        participants = self.participants(round_index)
        self.split.train()
        self.algorithm.run_round(self, self.fed_server, self.main_server, round_index, participants)
        client_loss = self.fed_server.average()
        server_loss = self.main_server.take_mean_loss()
        self.next_round += 1
        return RoundResult(round_index, participants, server_loss, client_loss)

    def exchange(self, broadcast: ModelBroadcast) -> Iterator[SmashedData | ClientReply]:
        """The link to a client (`heron.comms.Link`): its uploads as they come, its reply last."""
        received = self._channel.pass_through(broadcast, "downlink")
        assert isinstance(received, ModelBroadcast)  # the channel keeps a message's type
        # `map` keeps no message in a variable, so smashed data dies with its consumer's.
        yield from map(self._receive, self._client(received))

    def participants(self, round_index: int) -> list[int]:
        """The clients of a round, ascending: drawn without replacement from (seed, round)."""
        everyone = len(self.partition)
        chosen = self.settings.clients_per_round or everyone
        generator = np.random.default_rng(derive_seed("participants", self.settings.seed, round_index))
        return sorted(int(client_id) for client_id in generator.choice(everyone, size=chosen, replace=False))

    def client_data(self, client_id: int) -> ClientData:
        """A client's examples."""
        return ClientData(self.dataset, self.partition[client_id])

    def load_global_model(self) -> SplitModel:
        """The network with the global parameters in place: {theta_c, theta_s} and the auxiliary network."""
        self.learner.load(self.fed_server.model, {})
        return self.split

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything the next round depends on: (tensors by name, JSON-serialisable facts)."""
        server = self.main_server
        optimizer_state = {
            f"{index}/{entry}": value
            for index, entries in server.optimizer.state_dict()["state"].items()
            for entry, value in entries.items()
        }
        tensors = pack(
            {
                "fed_server": self.fed_server.model,
                "main_server": server.module.state_dict(),
                "server_optimizer": optimizer_state,
                **{f"client_{client_id}": state for client_id, state in self._states.items()},
            }
        )
        return tensors, {"next_round": self.next_round, "ledger": self.ledger.to_dict()}

    def load_state(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        groups = unpack({name: tensor.to(self.settings.device) for name, tensor in tensors.items()})
        server = self.main_server
        server.module.load_state_dict(groups.pop("main_server", {}))
        fresh = server.optimizer.state_dict()
        entries: dict[int, dict[str, Tensor]] = {}
        for key, value in groups.pop("server_optimizer", {}).items():
            index, _, entry = key.partition("/")
            # The step counter of torch's Adam lives on the host.
            entries.setdefault(int(index), {})[entry] = value.cpu() if entry == "step" else value
        server.optimizer.load_state_dict({"state": entries, "param_groups": fresh["param_groups"]})
        self.fed_server.model = groups.pop("fed_server", {})
        self._states = {int(name.removeprefix("client_")): state for name, state in groups.items()}
        self.next_round = int(facts["next_round"])
        self.ledger = Ledger.from_dict(facts["ledger"])
        self._channel = Channel(self.ledger, wire=self.settings.wire)

    def _client(self, broadcast: ModelBroadcast) -> Iterator[SmashedData | ClientReply]:
        client_id = broadcast.client_id
        state = self._states.pop(client_id, {})
        data = self.client_data(client_id)
        kept = yield from client_round(self.learner, broadcast, state, data, self.local_plan())
        if kept:
            self._states[client_id] = kept

    def _receive(self, message: SmashedData | ClientReply) -> SmashedData | ClientReply:
        received = self._channel.pass_through(message, "uplink")
        assert isinstance(received, SmashedData | ClientReply)  # the channel keeps a message's type
        return received

    def local_plan(self) -> LocalPlan:
        """What every client does in a round."""
        settings = self.settings
        return LocalPlan(
            settings.seed,
            settings.batch_size,
            settings.local_steps,
            settings.upload_period,
            torch.device(settings.device),
        )

    def _make_server_optimizer(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        rate = self.settings.server_learning_rate
        return Adam(parameters, lr=rate) if self.settings.server_optimizer == "adam" else SGD(parameters, lr=rate)

    def _check(self) -> None:
        chosen, everyone = self.settings.clients_per_round, len(self.partition)
        if chosen is not None and not 1 <= chosen <= everyone:
            raise ConfigError(f"expected clients.per_round from 1 to clients.total = {everyone}, found {chosen}")
        example = fetch(self.dataset, self.partition[0][:2], torch.device(self.settings.device))
        check_trainable(
            self.split,
            example.inputs,
            micro_batch=self.settings.micro_batch,
            needs_auxiliary=self.algorithm.needs_auxiliary,
        )
