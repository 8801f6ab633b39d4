"""Hyperparameters of a client's learning."""

import math
from dataclasses import dataclass, field
from typing import Literal

from heron.wire.groups import Settings, Update
from heron.zo import Estimator, KernelName
from heron.zo.rules import OptimizerName


@dataclass(frozen=True)
class ClientSettings:
    """Hyperparameters of a client's learning.

    Attributes:
        optimizer: update rule of theta_l.
        learning_rate: its step size eta_l, > 0.
        keep_state: whether the optimiser state survives from one round of the client to its next.
        estimator: probes of a zeroth-order client, None for no probes at all; first-order clients ignore it.
        exact: how many modules of a zeroth-order client, counted from its end, train exactly (`heron.split.boundary`).
        exact_learning_rate: step size of that part, > 0; None for `learning_rate`.
        decay_rounds: rounds T over which step sizes fall to nothing as half a cosine; None keeps them constant.
        update: how what is learned by zeroth order travels.
        seed_groups: G >= 1 groups of clients that share their directions, client i in group i mod G; 0 for directions
            of each client's own.
        digest_period: rounds from one broadcast with a digest of theta to the next, >= 1, where scalars are sent.
        kernel: what passes over zeroth-order parameters; all give the same bits.
    """

    optimizer: OptimizerName = "adam"
    learning_rate: float = 1e-3
    keep_state: bool = True
    estimator: Estimator | None = field(default_factory=Estimator)
    exact: int | Literal["all"] = 0
    exact_learning_rate: float | None = None
    decay_rounds: int | None = None
    update: Update = "dense"
    seed_groups: int = 0
    digest_period: int = 10
    kernel: KernelName = "auto"

    def rate(self, round_index: int) -> float:
        """Step size in a round: eta_l (1 + cos(pi t / T)) / 2 where it decays (Loshchilov and Hutter, ICLR 2017)."""
        if self.decay_rounds is None:
            return self.learning_rate
        return self.learning_rate * (1.0 + math.cos(math.pi * round_index / self.decay_rounds)) / 2.0


def learning_of(settings: Settings) -> ClientSettings:
    """Hyperparameters of the clients of a run; zeros become None."""
    client, probes = settings.client, settings.estimator
    return ClientSettings(
        optimizer=client.optimizer,
        learning_rate=client.learning_rate,
        keep_state=client.keep_state,
        estimator=Estimator(probes.mu, probes.probes, probes.distribution, probes.scheme) if probes.probes else None,
        exact=client.exact,
        exact_learning_rate=client.exact_learning_rate or None,
        decay_rounds=settings.rounds if client.schedule == "cosine" else None,
        update=settings.update,
        seed_groups=settings.seed_groups,
        digest_period=settings.digest_period,
        kernel=client.kernel,
    )
