"""The part of a federation that every process has: the cut network, and one learner for its clients."""

import torch
from torch import Tensor

from heron.algorithms import Algorithm
from heron.client.local import Criterion, LocalNetwork
from heron.client.local_plan import LocalPlan
from heron.client.opening import Opener, TensorStore
from heron.engines.refusals import check_optimizer, check_settings
from heron.errors import ConfigError
from heron.split import SplitModel, check_disjoint, check_trainable
from heron.wire.groups import Settings
from heron.wire.update_codec import UpdateCodec
from heron.wire.walks import Replayer


class Resident:
    """The cut network of this process, and the learner that acts as one client after the other.

    Clients learn with it. Servers use it for the names and initial values of the clients' tensors, and to assemble the
    global model. Parties that share a process share one.

    Args:
        split: the cut network; trained in place.
        algorithm: a row of `ALGORITHMS`.
        settings: settings of the training.
        criterion: mean loss over a batch.
        inputs: a few inputs, shape (B, ...), on any device, for the check that the network can be trained.

    Raises:
        SplitError: if the network cannot be trained this way.
        ConfigError: if settings contradict each other or the algorithm.
    """

    def __init__(
        self,
        split: SplitModel,
        algorithm: Algorithm,
        settings: Settings,
        criterion: Criterion,
        inputs: Tensor,
    ) -> None:
        self.split = split.to(settings.device)
        self.algorithm = algorithm
        self.settings = settings
        self.criterion = criterion
        self._check(inputs.to(settings.device))
        self.local = LocalNetwork(
            self.split,
            criterion,
            head=algorithm.head,
            micro_batch=settings.client.micro_batch or None,
            checkpointing=settings.client.checkpointing,
        )
        self.learning = algorithm.learning(settings)
        self.learner = algorithm.make_client(self.local, self.learning)
        self._check_update()
        self.update_codec = self._make_update_codec()

    def downlink_only(self) -> dict[str, Tensor]:
        """Tensors that clients receive but do not send back, by name."""
        part = self.algorithm.downlink_only
        if part is None:
            return {}
        named = self.local.module[part].named_parameters()
        return {f"{part}.{name}": tensor for name, tensor in named if tensor.requires_grad}

    def opener(self, store: TensorStore) -> Opener | None:
        """Opener that makes models from broadcasts, if the clients' replies contain scalars.

        Args:
            store: store of theta between rounds.
        """
        names, model = self.learner.replayed(), self.learner.model()
        if not names:
            return None
        replayer = Replayer(self.settings.seed, self.learning)
        return Opener(store, {name: model[name] for name in names}, replayer)

    def local_plan(self) -> LocalPlan:
        """Plan of every client's round."""
        settings = self.settings
        period = {"periodic": settings.client.upload_period, "every_step": 1, "never": None}[self.algorithm.uploads]
        return LocalPlan(
            settings.seed,
            settings.client.batch_size,
            settings.client.local_steps or None,
            period,
            torch.device(settings.device),
            settings.smashed,
            self.update_codec,
        )

    def _make_update_codec(self) -> UpdateCodec | None:
        if self.settings.update_codec == "fp32":
            return None
        replayed = self.learner.replayed()
        sent = {name: tensor for name, tensor in self.learner.model().items() if name not in replayed}
        return UpdateCodec(self.settings.update_codec, sent, self.downlink_only())

    def _check_update(self) -> None:
        if self.learning.update == "scalars" and not self.learner.replayed():
            raise ConfigError(
                f"{self.algorithm.name}: expected update=dense, found scalars: nothing on its clients learns by zeroth "
                f"order; leave it dense, or choose heron with probes below its order boundary"
            )
        client = self.learning.client
        if self.learning.update == "scalars" and client.keep_state and client.optimizer != "sgd":
            raise ConfigError(
                f"expected client.keep_state=false with update=scalars, found true with {client.optimizer}: the Fed "
                f"Server replays a round from its start and knows no older state; set it, or update=dense"
            )

    def _check(self, inputs: Tensor) -> None:
        check_settings(self.algorithm, self.settings)
        check_trainable(
            self.split,
            inputs,
            micro_batch=self.settings.client.micro_batch or None,
            needs_auxiliary=self.algorithm.head == "auxiliary",
            holds_server=self.algorithm.head == "server",
        )
        if self.algorithm.downlink_only == "auxiliary" or self.settings.server.refresh_auxiliary:
            assert self.split.auxiliary is not None  # checked before
            # The server changes theta_a, so a tensor of the client's in it would differ between the two.
            check_disjoint(
                "client", self.split.client, "the auxiliary network that the server fits", self.split.auxiliary
            )
        check_optimizer(self.algorithm, self.settings)
