"""All parties of a split federation in one process: the reference engine.

Clients are swapped through one resident network; messages pass a channel that counts encoded bytes and, in `wire`
mode, encodes and decodes every one.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, Adam, Optimizer
from torch.utils.data import Dataset

from heron.algorithms import (
    Algorithm,
    ClientData,
    Criterion,
    FedServerSetup,
    LocalNetwork,
    LocalPlan,
    Opener,
    Replayer,
    ServerSetup,
    client_round,
    make_fed_server,
)
from heron.comms import Answer, Broadcast, Channel, Conversation, FromClient, Ledger, Reply
from heron.data import fetch, num_batched, num_local_steps
from heron.engines.client_states import ClientStates
from heron.engines.packing import pack, unpack
from heron.engines.settings import FederationSettings, RoundResult
from heron.errors import ConfigError
from heron.split import SplitModel, check_disjoint, check_trainable
from heron.zo import derive_seed

Examples = Dataset[tuple[Tensor, ...]]


class Federation:
    """Clients, Main Server and Fed Server of one run.

    Args:
        split: the cut network; trained in place.
        algorithm: a row of `ALGORITHMS`.
        dataset: training examples.
        partition: each client's positions in the data set, shape (n_i,) each.
        settings: how to train.
        criterion: mean loss over a batch; cross-entropy by default.

    Attributes:
        states: what clients keep between rounds.
        held: the theta that each client has received last, where replies hold scalars.
        client_examples: examples that clients have trained on so far, those of dropped clients included.

    Raises:
        SplitError: if the network cannot be trained this way.
        ConfigError: if a round asks for more clients than there are, the algorithm's clients have no such optimiser, or
            the auxiliary network is to be refreshed and clients train none.
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
        self.states = ClientStates()
        self.held = ClientStates()
        self.next_round = 0
        self.client_examples = 0
        self._check()
        self.local = LocalNetwork(
            self.split,
            criterion,
            head=algorithm.head,
            micro_batch=settings.micro_batch,
            checkpointing=settings.checkpointing,
        )
        self._client_settings = algorithm.client_settings(settings.client)
        self.learner = algorithm.make_client(self.local, self._client_settings)
        self._check_update()
        self.fed_server = make_fed_server(
            FedServerSetup(
                self.learner.model(),
                self._downlink_only(),
                settings.weighting,
                settings.seed,
                self._client_settings,
                settings.fed_optimizer,
                self.local.buffers(),
                self.learner.replayed(),
            )
        )
        self.main_server = algorithm.make_main_server(
            ServerSetup(
                self.split,
                criterion,
                self._make_server_optimizer,
                settings.seed,
                settings.alignment,
                settings.refresh_auxiliary,
            )
        )
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
        client_loss, num_replies = self.fed_server.average()
        self.main_server.after_average(round_index, self.fed_server)
        server_loss = self.main_server.take_mean_loss()
        self.next_round += 1
        return RoundResult(round_index, participants, num_replies, server_loss, client_loss)

    def exchange(self, broadcast: Broadcast) -> Conversation:
        """The link to a client (`heron.comms.Link`): its uploads as they come, its reply last."""
        received = self._channel.pass_through(broadcast, "downlink")
        assert isinstance(received, Broadcast)  # the channel keeps a message's type
        client = self._client(received)
        del received  # the client's to drop
        message = next(client, None)
        while message is not None:
            parcel = [self._receive(message)]
            message = None
            # Popped in the expression: no variable holds smashed data, so it dies with its consumer's.
            answer = yield parcel.pop()
            try:
                message = client.send(None if answer is None else self._answer(answer))
            except StopIteration:
                return

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
        self.learner.load(self.fed_server.global_model(), {})
        return self.split

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What the next round depends on beside the files of `states`: (tensors by name, JSON-serialisable facts)."""
        groups = self.fed_server.state()
        if self.algorithm.uploads != "never":
            groups["main_server"] = self.main_server.state()
        return pack(groups), {
            "next_round": self.next_round,
            "client_examples": self.client_examples,
            "client_states": self.states.index(),
            "held": self.held.index(),
            "ledger": self.ledger.to_dict(),
        }

    def load_state(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self.load_servers(tensors)
        self.states.load_index(facts["client_states"])
        self.held.load_index(facts["held"])
        self.next_round = int(facts["next_round"])
        self.client_examples = int(facts["client_examples"])
        self.ledger = Ledger.from_dict(facts["ledger"])
        self._channel = Channel(self.ledger, wire=self.settings.wire)

    def load_servers(self, tensors: dict[str, Tensor]) -> None:
        """Give both servers what `state` returned as tensors: all that the global model is made of."""
        groups = unpack({name: tensor.to(self.settings.device) for name, tensor in tensors.items()})
        if "main_server" in groups:
            self.main_server.load_state(groups["main_server"])
        self.fed_server.load_state(groups)

    def _client(self, broadcast: Broadcast) -> Conversation:
        """A client's round as far as it attends."""
        client_id, round_index, plan = broadcast.client_id, broadcast.round_index, self.local_plan()
        data = self.client_data(client_id)
        num_steps = num_local_steps(len(data.indices), plan.batch_size, plan.local_steps)
        attendance = self.settings.reliability.attendance(plan.run_seed, round_index, client_id, num_steps)
        state = self.states.take(client_id)
        rounds = client_round(self.learner, broadcast, state, data, plan, attendance.max_steps, self._opener())
        del broadcast
        answer: Answer | None = None
        while True:
            try:
                parcel = [rounds.send(answer)]
            except StopIteration as stop:
                self.states.keep(client_id, round_index, stop.value)
                return
            if isinstance(parcel[0], Reply):
                self.client_examples += num_batched(len(data.indices), plan.batch_size, parcel[0].num_steps)
                if not attendance.replies:
                    return
            answer = yield parcel.pop()

    def _opener(self) -> Opener | None:
        names, model = self.learner.replayed(), self.learner.model()
        if not names:
            return None
        replayer = Replayer(self.settings.seed, self._client_settings)
        return Opener(self.held, {name: model[name] for name in names}, replayer)

    def _receive(self, message: FromClient) -> FromClient:
        received = self._channel.pass_through(message, "uplink")
        assert isinstance(received, FromClient)  # the channel keeps a message's type
        return received

    def _answer(self, message: Answer) -> Answer:
        received = self._channel.pass_through(message, "downlink")
        assert isinstance(received, Answer)  # the channel keeps a message's type
        return received

    def local_plan(self) -> LocalPlan:
        """What every client does in a round."""
        settings = self.settings
        period = {"periodic": settings.upload_period, "every_step": 1, "never": None}[self.algorithm.uploads]
        return LocalPlan(
            settings.seed, settings.batch_size, settings.local_steps, period, torch.device(settings.device)
        )

    def _downlink_only(self) -> dict[str, Tensor]:
        part = self.algorithm.downlink_only
        if part is None:
            return {}
        named = self.local.module[part].named_parameters()
        return {f"{part}.{name}": tensor for name, tensor in named if tensor.requires_grad}

    def _make_server_optimizer(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        rate = self.settings.server_learning_rate
        return Adam(parameters, lr=rate) if self.settings.server_optimizer == "adam" else SGD(parameters, lr=rate)

    def _check_update(self) -> None:
        if self._client_settings.update == "scalars" and not self.learner.replayed():
            raise ConfigError(
                f"{self.algorithm.name}: expected update=dense, found scalars: nothing on its clients learns by zeroth "
                f"order; leave it dense, or choose heron with probes below its order boundary"
            )

    def _check(self) -> None:
        chosen, everyone = self.settings.clients_per_round, len(self.partition)
        if chosen is not None and not 1 <= chosen <= everyone:
            raise ConfigError(f"expected clients.per_round from 1 to clients.total = {everyone}, found {chosen}")
        if self.settings.refresh_auxiliary and not self.algorithm.trains_auxiliary:
            raise ConfigError(
                f"expected server.refresh_auxiliary=false with {self.algorithm.name}, found true: its clients train no "
                f"auxiliary network; leave it false or choose an algorithm whose clients do, such as heron"
            )
        example = fetch(self.dataset, self.partition[0][:2], torch.device(self.settings.device))
        check_trainable(
            self.split,
            example.inputs,
            micro_batch=self.settings.micro_batch,
            needs_auxiliary=self.algorithm.head == "auxiliary",
            holds_server=self.algorithm.head == "server",
        )
        if self.algorithm.downlink_only == "auxiliary" or self.settings.refresh_auxiliary:
            assert self.split.auxiliary is not None  # checked by then
            # The server changes theta_a by itself: a tensor of the client's own in it would be another one there.
            check_disjoint(
                "client", self.split.client, "the auxiliary network that the server fits", self.split.auxiliary
            )
        rule, known = self.settings.client.optimizer, self.algorithm.optimizers
        if rule not in known:
            raise ConfigError(
                f"{self.algorithm.name}: expected client.optimizer of {', '.join(known)}, found {rule}; set it to "
                f"one of these"
            )
