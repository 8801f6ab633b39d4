"""What every process of a federation has of it: the cut network, and one client's learner that is resident in it."""

import torch
from torch import Tensor

from heron.algorithms import Algorithm, Criterion, LocalNetwork, LocalPlan
from heron.engines.settings import FederationSettings
from heron.errors import ConfigError
from heron.split import SplitModel, check_disjoint, check_trainable


class Resident:
    """The cut network of this process and the learner that becomes one client after the other in it.

    Clients learn with it; servers have it for the names and first values of what clients train, and to put the global
    model together. Parties that share a process share one.

    Args:
        split: the cut network; trained in place.
        algorithm: a row of `ALGORITHMS`.
        settings: how to train.
        criterion: mean loss over a batch.
        inputs: a few inputs, shape (B, ...), on any device, to check with that the network can be trained.

    Raises:
        SplitError: if the network cannot be trained this way.
        ConfigError: if the algorithm's clients have no such optimiser, or the auxiliary network is to be refreshed and
            clients train none.
    """

    def __init__(
        self,
        split: SplitModel,
        algorithm: Algorithm,
        settings: FederationSettings,
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
            micro_batch=settings.micro_batch,
            checkpointing=settings.checkpointing,
        )
        self.learner = algorithm.make_client(self.local, settings.client)

    def local_plan(self) -> LocalPlan:
        """What every client does in a round."""
        settings = self.settings
        period = {"periodic": settings.upload_period, "every_step": 1, "never": None}[self.algorithm.uploads]
        return LocalPlan(
            settings.seed, settings.batch_size, settings.local_steps, period, torch.device(settings.device)
        )

    def _check(self, inputs: Tensor) -> None:
        if self.settings.refresh_auxiliary and not self.algorithm.trains_auxiliary:
            raise ConfigError(
                f"expected server.refresh_auxiliary=false with {self.algorithm.name}, found true: its clients train no "
                f"auxiliary network; leave it false or choose an algorithm whose clients do, such as heron"
            )
        check_trainable(
            self.split,
            inputs,
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
