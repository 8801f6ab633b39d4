"""All parties of a split federation in one process: the reference engine.

Clients take turns in one resident network; messages pass a channel that counts encoded bytes and, in `wire`
mode, encodes and decodes every one.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from heron.algorithms import Algorithm
from heron.client.states import ClientStates
from heron.client.torch_runtime.examples import DatasetExamples
from heron.costs.network import LinkModel
from heron.costs.trace import RoundTrace, TracedLearner
from heron.data import Examples, fetch
from heron.engines.arguments import check_parts, checked_shares
from heron.engines.exposure import exposure
from heron.engines.fleet import Residents, agree_all
from heron.engines.label_classes import check_shown_labels
from heron.engines.mask_refusals import check_mask_members
from heron.engines.pairs import check_pairs
from heron.engines.participants import check_participants
from heron.engines.privacy import private_account
from heron.engines.round_result import RoundResult
from heron.engines.servers import Servers
from heron.engines.traced_channel import TracedChannel
from heron.privacy.vault import Vault
from heron.split import SplitModel
from heron.split.criterion import Criterion
from heron.tensors import as_tensor
from heron.wire import Answer, Broadcast, Conversation, Ledger, Listener
from heron.wire.digests import digest_of
from heron.wire.groups import Settings
from heron.wire.mask_messages import MaskAnswer, MaskRequest


class Federation:
    """Clients, Main Server and Fed Server of one run, and the link between them.

    Args:
        split: the cut network; trained in place. `heron.split.lent` gives it back as it was but for its values.
        algorithm: a row of `ALGORITHMS`.
        dataset: training examples.
        partition: each client's positions in the data set, shape (n_i,) each.
        settings: settings of the training.
        criterion: mean loss over a batch; cross-entropy by default.
        link: devices and links for simulated time; None for none.
        vault: keeps the secret of private clients; by default a fresh one.

    Attributes:
        servers: the servers' side.
        residents: the clients' side.
        clients: those among whom client 0 is at work; all of them, but in a fleet.
        states: the clients' states between rounds.
        held: the theta that each client received last, if replies contain scalars.
        listeners: called with every message and its direction as its receiver gets it; for tests and measurements.
        simulated_s: simulated time of the rounds so far on the devices and links; None without them.
        vault: keeps the secret of private clients; None where privacy is off.
        runtime: network of the resident client.
        learner: learner of the resident client.
        fed_server: averages what clients train.
        main_server: trains the server part.

    Raises:
        SplitError: if the network cannot be trained this way.
        DataError: if the data are no map-style data set, a share does not fit it, or a client has one example and the
            network needs two.
        ConfigError: if an argument has another type, the vault is another run's, a round asks for more clients than
            there are, the algorithm's clients have no such optimiser, or the auxiliary network is to be refreshed and
            clients train none.
    """

    def __init__(
        self,
        split: SplitModel,
        algorithm: Algorithm,
        dataset: Examples,
        partition: Sequence[np.ndarray],
        settings: Settings,
        criterion: Criterion = cross_entropy,
        link: LinkModel | None = None,
        vault: Vault | None = None,
    ) -> None:
        check_parts(split, algorithm, dataset, settings, criterion)
        partition = checked_shares(partition, dataset)
        settings = replace(settings, clients=replace(settings.clients, total=len(partition)))
        check_participants(settings.clients.per_round, len(partition))
        account = private_account(algorithm, settings, [len(share) for share in partition])
        settings = settings if account is None else account.settings
        self.vault = vault or Vault() if settings.needs_secret else None
        if self.vault is not None:
            self.vault.claim()
        device = torch.device(settings.device)
        example, split = fetch(dataset, np.concatenate(partition)[:2], device), split.to(settings.device)
        split = algorithm.equipped(split, settings, as_tensor(example.inputs))
        agreed = agree_all(split, algorithm, settings, criterion, example)
        check_shown_labels(agreed.terms, dataset, partition)
        few = fetch(dataset, np.resize(partition[0], 4), device)
        data = {i: DatasetExamples(dataset, own, device, apart=bool(account)) for i, own in enumerate(partition)}
        self.residents = Residents(agreed, algorithm, split, criterion, few, data, self.vault)
        self.clients = self.residents.of(0)
        self.servers = Servers(agreed.terms, algorithm, split, criterion, agreed.fleet)
        self.servers.account = account
        sizes = [len(share) for share in partition]
        self.servers.exposure = exposure(algorithm, settings, sizes)
        check_pairs(agreed.terms, split, sizes, self.servers.all_participants())
        check_mask_members(self.servers.learning.settings, self.servers.all_participants())
        self.states, self.held = ClientStates(), ClientStates()
        self.simulated_s = None if link is None else 0.0
        self._trace = None if link is None else RoundTrace(link)
        self.split = split
        self.algorithm = algorithm
        self.settings = settings
        self.dataset = dataset
        self.partition = partition
        self.runtime = self.clients.runtime
        self.learner = self.clients.learner
        self.fed_server, self.main_server = self.servers.fed_server, self.servers.main_server
        self.listeners: list[Listener] = []
        self._channel = self._make_channel()

    @property
    def ledger(self) -> Ledger:
        """Traffic so far."""
        return self.servers.ledger

    @property
    def client_examples(self) -> int:
        """Number of examples that clients have trained on so far, including those of dropped clients."""
        return self.servers.client_examples

    @property
    def next_round(self) -> int:
        """Number of the next round, t, from 0."""
        return self.servers.next_round

    def run_round(self) -> RoundResult:
        """Run the next round.

        Returns:
            Outcome of the round.

        Raises:
            TrainingError: if a loss or an update is not finite; the federation is then of no further use.
        """
        if self.vault is not None:
            self.vault.begin()
        result = self.servers.run_round(self, self.participants(self.next_round))
        if self._trace is not None and self.simulated_s is not None:
            self.simulated_s += self._trace.take_seconds()
        return replace(result, simulated_s=self.simulated_s)

    def participants(self, round_index: int) -> list[int]:
        """The clients of a round, ascending."""
        return self.servers.participants(round_index)

    def exchange(self, broadcast: Broadcast) -> Conversation:
        """The link to a client (`heron.wire.Link`): its uploads as they come, its reply last."""
        received = self._channel.opening(broadcast)
        client = self._attend(received)
        del received  # the client's to drop
        if self.settings.link.bundle:
            yield from self._channel.collect(client)
            return
        answer: Answer | None = None
        while True:
            try:
                parcel = [self._channel.up(client.send(None if answer is None else self._channel.down(answer)))]
            except StopIteration:
                return
            answer = None
            # Popped in the expression: no variable holds smashed data, so it dies with its consumer's.
            answer = yield parcel.pop()

    def ask(self, requests: Sequence[MaskRequest]) -> dict[int, MaskAnswer]:
        """Ask clients about their masks (`heron.wire.Link`)."""
        assert self.clients.masks is not None  # the servers ask with secure_sum alone
        return self._channel.ask(requests, self.clients.masks.keeper.answer)

    def load_global_model(self) -> SplitModel:
        """Load the global parameters into the network, {theta_c, theta_s} and the auxiliary network, and return it."""
        return self.servers.load_global_model()

    def keep_states_in(self, folder: Path, run: str = "") -> None:
        """Keep the clients' states, and the secret of this run, in a folder that outlives this process.

        Args:
            folder: the folder.
            run: text by which this run is recognised, whatever number of rounds it has.
        """
        self.states = ClientStates(folder / "clients")
        self.held = ClientStates(folder / "held")
        if self.vault is not None:
            # Another network at the start is another run: the same noise would show how the two differ.
            self.vault.keep_in(folder / "secret", f"{run} {digest_of(self.fed_server.global_model())}")

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """State that the next round depends on: (tensors by name, JSON-serialisable facts).

        The files of `states` and `held` that the facts name are on the disk when this returns.
        """
        self.states.sync()
        self.held.sync()
        tensors, facts = self.servers.state()
        facts |= {"client_states": self.states.index(), "held": self.held.index()}
        facts |= {} if self.vault is None else {"secret": self.vault.sync()}
        return tensors, facts if self.simulated_s is None else facts | {"simulated_s": self.simulated_s}

    def load_state(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Continue from a result of `state`.

        Args:
            tensors: tensors of the result.
            facts: its other values.
        """
        if self.vault is not None:
            self.vault.restore(facts.get("secret", ""), on_nodes="run" in facts)
        self.servers.load_state(tensors, facts)
        self.states.load_index(facts["client_states"])
        self.held.load_index(facts["held"])
        self._channel = self._make_channel()
        if self.simulated_s is not None:
            self.simulated_s = float(facts["simulated_s"])

    def checkpointed(self) -> None:
        """Delete files that only older checkpoints name; a checkpoint of the present state has been written."""
        self.states.prune()
        self.held.prune()

    def _attend(self, broadcast: Broadcast) -> Conversation:
        """Run the client's round and keep its state at the end."""
        client_id, round_index = broadcast.client_id, broadcast.round_index
        clients = self.residents.of(client_id)
        learner = clients.learner if self._trace is None else TracedLearner(clients.learner, self._trace)
        state, opener = self.states.take(client_id), None if self.servers.fleet else clients.opener(self.held)
        client = clients.attend(broadcast, state, opener, learner=learner)
        del broadcast, state
        attended = yield from client
        self.states.keep(client_id, round_index, attended.state)
        self.servers.client_examples += attended.num_examples

    def _make_channel(self) -> TracedChannel:
        return TracedChannel(self.ledger, self.settings, self._trace, self.listeners)
