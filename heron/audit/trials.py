"""Trainings of one step of a run's own client on two examples, of which the first is the canary.

`D` numbers of a step, `n` examples.
"""

import copy
import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from heron.arrays import to_host
from heron.audit.group_scalars import group_scalars
from heron.audit.view import View
from heron.client.states import ClientStates
from heron.data import Batch
from heron.engines.agreement import agree, travelling
from heron.engines.clients import Clients
from heron.engines.privacy import PrivacyAccount
from heron.privacy.secret import Secret
from heron.privacy.vault import Vault
from heron.seeds import StepKey
from heron.server.fed_servers import make_fed_server
from heron.wire.groups import Averaging, Settings, Smashed
from heron.wire.messages import Reply, ScalarReply
from heron.wire.network import Network
from heron.wire.population import Clients as Population

_EXAMPLES = 2
_RATE, _STANDSTILL = 1e-2, 1e-12  # gradients are read from what moved, scalars are sent
_QUIET = 1e-6


class Trials:
    """Maker of such trainings.

    Args:
        view: of the attacker; its victims are the examples, and the canary has the label of another one.
        epsilon: that the noise of a training spends against who does not see the batches.

    Attributes:
        settings: of the trainings.
        claims: epsilon of one training by the name of the party, as an account has it.
        rate: probability of an example to be in a step.
        clip: of the vector that is looked at.
    """

    def __init__(self, view: View, epsilon: float) -> None:
        account = PrivacyAccount(_settings(view, epsilon), [_EXAMPLES], [1], uploads=True)
        account.rounds = [1]
        self.settings = account.settings
        self.claims = account.figures()
        self.rate = min(1.0, self.settings.client.batch_size / _EXAMPLES)
        learning, privacy = view.algorithm.learning(self.settings), self.settings.privacy
        has_head = learning.has_exact_head
        has_probes = view.algorithm.orders(learning).probes
        self._clips = (privacy.clip, privacy.exact_clip) if has_head and has_probes else None
        # Two parts are looked at as one vector, each in units of its clip and with sqrt(2) times the noise.
        self.clip = 1.0 if self._clips else privacy.exact_clip if has_head else privacy.clip
        inputs, labels = view.victims.inputs[:_EXAMPLES], view.victims.labels[:_EXAMPLES].clone()
        differs = (view.victims.labels != labels[0]).reshape(len(view.victims.labels), -1).any(1)
        if bool(differs.any()):
            labels[0] = view.victims.labels[int(differs.nonzero()[0])]
        self._examples = Watched(inputs, labels)
        self._vault = Vault(Secret(bytes(32)))
        self._clients = self._made(view, self.settings)
        quiet = replace(self.settings, privacy=replace(self.settings.privacy, noise=_QUIET))
        self._quiet = self._made(view, quiet)

    def run(self, secret: Secret, *, is_there: bool) -> tuple[NDArray[np.float64], bool, bool]:
        """Train once.

        Args:
            secret: of the device.
            is_there: whether the canary contributes.

        Returns:
            What is released, times the expected size of a batch, shape (D,); whether the canary was drawn, whether or
            not it is there; and whether the other example was.
        """
        self._examples.watch(is_there=is_there)
        released = self._released(self._reply(self._clients, secret))
        return released, bool(self._examples.drawn[0]), bool(self._examples.drawn[1])

    def contributions(self) -> NDArray[np.float64]:
        """Measure what each example contributes to the sum of the step, clipped, shape (n, D)."""
        found = []
        for index in range(_EXAMPLES):
            self._examples.watch(only=index)
            found.append(self._released(self._reply(self._quiet, Secret(bytes(32)))))
        return np.stack(found)

    def unnoised(self, secret: Secret) -> list[str]:
        """Name what differs in a reply but for the noised numbers: between the worlds, everything else being equal.

        Args:
            secret: of the device; others are derived from it until the canary is drawn.
        """
        for trial in range(1_000):
            own = secret.of(trial)
            if self.run(own, is_there=True)[1]:
                break
        replies = []
        for is_there in (True, False):
            self._examples.watch(is_there=is_there)
            replies.append(_open_fields(self._reply(self._clients, own), self._noised))
        first, second = replies
        return [name for name, value in first.items() if second.get(name) != value]

    def _made(self, view: View, settings: Settings) -> Clients:
        split = copy.deepcopy(view.split).train()
        example = Batch(self._examples.inputs, self._examples.labels)
        # Without uploads, which have no guarantee: a batch that lacks the canary may have nothing to upload.
        terms = replace(agree(split, view.algorithm, settings, view.criterion, example), upload_period=None)
        runtime = view.algorithm.torch_runtime(split, view.criterion, settings)
        clients = Clients(terms, view.algorithm, runtime, {0: self._examples}, self._vault)
        server = make_fed_server(terms, travelling(terms, split), clients.learning)
        self._groups = runtime.groups
        self._noised = {term.name for term in terms.tensors if term.role in ("replayed", "trained")}
        self._broadcast = server.broadcast(0, 0)
        self._start = {name: to_host(array).copy() for name, array in server.global_model().items()}
        return clients

    def _reply(self, clients: Clients, secret: Secret) -> Reply:
        self._vault.secret = secret
        for message in clients.attend(self._broadcast, {}, clients.opener(ClientStates())):
            if isinstance(message, Reply):
                reply = message
        return reply

    def _released(self, reply: Reply) -> NDArray[np.float64]:
        size = self.settings.client.batch_size
        parts = []
        if isinstance(reply, ScalarReply):
            parts.append(size * to_host(reply.projected_gradients).astype(np.float64).ravel())
        moved = {
            name: (self._start[name].astype(np.float64) - to_host(array).astype(np.float64)).ravel() / _RATE
            for name, array in reply.model.items()
            if name in self._noised
        }
        if any(group.runtime.theta is not None for group in self._groups):
            key = StepKey(self.settings.seed, 0, 0, 0)
            return size * group_scalars(self._groups, self._clients.learning, key, moved)
        if moved:
            parts.append(size * np.concatenate(list(moved.values())))
        if self._clips is None:
            (released,) = parts
            return released
        return np.concatenate([part / clip for part, clip in zip(parts, self._clips, strict=True)]) / math.sqrt(2)


class Watched:
    """Two examples that note which of them are drawn.

    Args:
        inputs: shape (n, ...).
        labels: shape (n, ...).
    """

    def __init__(self, inputs: torch.Tensor, labels: torch.Tensor) -> None:
        self.inputs = inputs
        self.labels = labels
        self.drawn = np.zeros(len(labels), bool)
        self._is_there = True
        self._only: int | None = None

    def __len__(self) -> int:
        """Return n."""
        return len(self.labels)

    def watch(self, *, is_there: bool = True, only: int | None = None) -> None:
        """Begin a training.

        Args:
            is_there: whether the canary contributes where it is drawn.
            only: the example that every batch consists of, whatever is drawn; None for what is drawn.
        """
        self._is_there, self._only = is_there, only

    def batch(self, positions: NDArray[np.int64], seed: int) -> Batch:  # noqa: ARG002 - nothing is drawn
        """Return the examples of a step."""
        self.drawn = np.isin(np.arange(len(self)), positions)
        if self._only is not None:
            positions = np.array([self._only])
        elif not self._is_there:
            positions = positions[positions > 0]
        return Batch(self.inputs[positions], self.labels[positions])


def _settings(view: View, epsilon: float) -> Settings:
    """Settings of a run for one step on two examples, with a budget in place of its noise."""
    own = view.algorithm.learning(view.settings).settings
    orders = view.algorithm.orders(view.algorithm.learning(view.settings))
    sends_scalars = orders.probes and orders.groups is None
    client = replace(
        own.client,
        batch_size=1 if own.privacy.sampling == "poisson" else _EXAMPLES,  # a pass has all of them
        micro_batch=0,
        local_steps=1,
        optimizer="sgd",
        learning_rate=_STANDSTILL if sends_scalars else _RATE,
        exact_learning_rate=_RATE,
        schedule="constant",
        keep_state=False,
        runtime="torch",
    )
    facts: dict[str, Any] = {
        "rounds": 1,
        "update": "scalars" if sends_scalars else "dense",
        "wire": False,
        "secure_sum": False,
        "client": client,
        "clients": Population(total=1),
        "fed_server": Averaging(),
        "smashed": Smashed(),
        "link": Network(),
        "privacy": replace(own.privacy, epsilon=epsilon, noise="auto", label_epsilon="off"),
    }
    return replace(_plain(own), **facts)


def _plain(settings: Settings) -> Settings:
    """Settings alone, of a configuration that has more."""
    return Settings(**{name: getattr(settings, name) for name in Settings.__dataclass_fields__})


def _open_fields(reply: Reply, noised: set[str]) -> dict[str, Any]:
    """Everything in a reply that is not noised, in a form that can be compared."""
    fields: dict[str, Any] = {name: getattr(reply, name) for name in ("num_examples", "num_steps")}
    fields["train_loss"] = repr(float(reply.train_loss))
    for name, array in reply.model.items():
        if name not in noised:
            fields[name] = to_host(array).tobytes()
    return fields
