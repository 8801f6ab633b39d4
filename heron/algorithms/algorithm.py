"""The definition of an algorithm: a way to learn on a client, a round protocol, and a citation.

Adding one takes a file in this folder and a row in `ALGORITHMS`; shared code asks an algorithm for what it needs
and never compares its name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, get_args

from heron.client.runtime import Head, Orders, Runtime
from heron.client.step import ClientLearner
from heron.errors import ConfigError
from heron.privacy.vault import Vault
from heron.wire.groups import Client, Settings
from heron.wire.learning import Learning, with_fixed
from heron.wire.link import Link
from heron.zo.rules import OptimizerName

if TYPE_CHECKING:
    from torch import Tensor

    from heron.client.torch_runtime.network import Parts
    from heron.client.torch_runtime.runtime import TorchRuntime
    from heron.server.fed_server import FedServer
    from heron.server.main_server import MainServer
    from heron.server.setup import ServerSetup
    from heron.split.criterion import Criterion
    from heron.split.layer_groups import Held

RoundProtocol = Callable[[Link, "FedServer", "MainServer", int, list[int]], None]


def first_order(learning: Learning) -> Orders:  # noqa: ARG001 - one signature for all
    """All modules learn from exact gradients."""
    return Orders(exact="all")


def zeroth_order(learning: Learning) -> Orders:  # noqa: ARG001 - one signature for all
    """All modules learn from probes."""
    return Orders(probes=True)


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
        orders: the order in which each module of its clients learns.
        make_client: builds the learner on a runtime whose parameters learn in these orders.
        run_round: the round protocol, `decoupled_round` or `coupled_round`.
        make_private: builds the learner whose updates are clipped and noised; None where there is none, or where what
            its clients become depends on more than their updates.
        head: what clients compute a local loss with; None where they have none.
        uploads: when they send smashed data.
        answers: what comes back for each upload; None in decoupled rounds.
        clean_first: whether, where probes are uploaded, the clean pass goes up before them; else after them.
        main_server: factory of the Main Server, as module and name; a device that runs a client alone never imports it.
        downlink_only: the part that a server changes for the clients: broadcast, not sent back.
        optimizers: the clients' update rules to choose from.
        has_boundary: whether its clients obey `client.exact` and `client.learning`.
        draws_candidates: whether its clients obey `estimator.candidates` and `estimator.sampling`.
        fixed: settings that it leaves no choice about, by key; those of a section as a mapping.
        control: what other rows are compared with it for; None for most. At most one row has each.
    """

    name: str
    summary: str
    citation: str
    orders: Callable[[Learning], Orders]
    make_client: Callable[[Runtime, Learning], ClientLearner]
    run_round: RoundProtocol
    head: Head | None
    uploads: Uploads = "periodic"
    answers: Answers | None = None
    clean_first: bool = False
    main_server: str = "heron.server.main_server:MainServer"
    downlink_only: Literal["auxiliary"] | None = None
    optimizers: tuple[OptimizerName, ...] = get_args(OptimizerName)
    has_boundary: bool = False
    draws_candidates: bool = False
    fixed: Mapping[str, Any] = field(default_factory=dict)
    control: Control | None = None
    make_private: Callable[[Runtime, Learning], ClientLearner] | None = None

    def learning(self, settings: Settings) -> Learning:
        """Return how the clients of a run learn: its settings, with those that this algorithm fixes."""
        if not self.has_boundary:
            own = {"exact": 0, "exact_learning_rate": 0.0, "learning": "zeroth_order"}
            settings = with_fixed(settings, {"client": own})
        candidates = settings.estimator.candidates if self.draws_candidates else 0
        return Learning(with_fixed(settings, self.fixed), candidates=candidates)

    @property
    def can_have_layer_groups(self) -> bool:
        """True if a setting can make its clients learn in layer groups."""
        asked = Settings(client=Client(learning="local_exact"))
        return self.learning(asked).client.learning == "local_exact"

    def client(self, runtime: Runtime, learning: Learning) -> ClientLearner:
        """Build the learner of a client, the private one where privacy is on.

        Args:
            runtime: the client's network.
            learning: how it learns.

        Raises:
            ConfigError: if privacy is on, and such clients have no private form.
        """
        if not learning.settings.privacy.is_on:
            return self.make_client(runtime, learning)
        if self.make_private is None:
            raise ConfigError(f"expected privacy off with {self.name}, found privacy; leave [privacy] out")
        return self.make_private(runtime, learning)

    def trial_learning(self, settings: Settings) -> Learning:
        """Return how a client learns that is measured and sends nothing; its noise is from a secret that is lost."""
        if not settings.needs_secret:
            return self.learning(settings)
        privacy = settings.privacy
        if privacy.fixes_rounds:
            settings = replace(settings, privacy=replace(privacy, noise=1.0))
        return replace(self.learning(settings), vault=Vault())

    def upload_period(self, settings: Settings) -> int | None:
        """Local steps from one upload of smashed data to the next; None where nothing is uploaded."""
        return {"periodic": settings.client.upload_period, "every_step": 1, "never": None}[self.uploads]

    def equipped(self, split: "Held", settings: Settings, inputs: "Tensor") -> "Held":
        """Return a cut network with the local heads that this algorithm's clients train; without any, itself.

        Everybody who builds a run's network calls this: servers, clients and those who count costs.

        Args:
            split: the cut network, or a client's parts of it, on its device.
            settings: of the run.
            inputs: a few inputs.

        Raises:
            SplitError: if the client has no such layer groups.
        """
        learning = self.learning(settings)
        orders = self.orders(learning)
        if orders.groups is None:
            return split
        from heron.split.layer_groups import with_local_heads

        pool = learning.client.local_pool
        return with_local_heads(split, inputs, seed=settings.seed, count=orders.groups, above=orders.above, pool=pool)

    def torch_client(
        self, split: "Parts", criterion: "Criterion", settings: Settings
    ) -> "tuple[TorchRuntime, ClientLearner]":
        """Build a runtime in PyTorch and a client of this algorithm on it; arguments as of `torch_runtime`."""
        runtime = self.torch_runtime(split, criterion, settings)
        return runtime, self.client(runtime, self.trial_learning(settings))

    def torch_runtime(self, split: "Parts", criterion: "Criterion", settings: Settings) -> "TorchRuntime":
        """Build the network of this algorithm's clients in PyTorch.

        Args:
            split: the cut network, or a client's parts of it; trained in place.
            criterion: mean loss over a batch.
            settings: of the run.

        Raises:
            ConfigError: if the order boundary is neither a number nor `all`.
            SplitError: if the client has no such order boundary, or nothing to train.
        """
        from heron.client.torch_runtime.runtime import TorchRuntime

        learning = self.learning(settings)
        return TorchRuntime(split, criterion, head=self.head, orders=self.orders(learning), client=learning.client)

    def make_main_server(self, setup: "ServerSetup") -> "MainServer":
        """Build the Main Server."""
        module, _, name = self.main_server.partition(":")
        server: MainServer = getattr(import_module(module), name)(setup)
        return server

    @property
    def trains_auxiliary(self) -> bool:
        """True if clients train an auxiliary network, which a Main Server can then refresh."""
        return self.head == "auxiliary" and self.downlink_only is None
