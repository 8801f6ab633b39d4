"""Settings of the clients' learning: a view of the groups, for those who learn and for those who replay."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from heron.wire.groups import Client, Probes, Settings, Update
from heron.zo.probes import Estimator


@dataclass(frozen=True)
class Learning:
    """Settings of the clients' learning, as an algorithm leaves them.

    Attributes:
        client: the group `[client]`.
        estimator: the group `[estimator]`; first-order clients ignore it.
        update: form in which learning by zeroth order travels.
        seed_groups: groups of clients that share their directions; 0 for directions of each client's own.
        digest_period: rounds from one broadcast with a digest of theta to the next, if scalars are sent.
        rounds: number of rounds T, over which step sizes fall with the schedule `cosine`.
    """

    client: Client = field(default_factory=Client)
    estimator: Probes = field(default_factory=Probes)
    update: Update = "dense"
    seed_groups: int = 0
    digest_period: int = 10
    rounds: int = 20

    @classmethod
    def of(cls, settings: Settings, fixed: Mapping[str, Any]) -> "Learning":
        """Take the settings of a run, and what an algorithm leaves no choice about.

        Args:
            settings: the settings.
            fixed: values by key; those of a section as a mapping.
        """
        learning = cls(
            settings.client,
            settings.estimator,
            settings.update,
            settings.seed_groups,
            settings.digest_period,
            settings.rounds,
        )
        for name, value in fixed.items():
            new = replace(getattr(learning, name), **value) if isinstance(value, Mapping) else value
            learning = replace(learning, **{name: new})
        return learning

    def rate(self, round_index: int) -> float:
        """Step size in a round: eta_l (1 + cos(pi t / T)) / 2 if it falls (Loshchilov and Hutter, ICLR 2017)."""
        if self.client.schedule == "constant":
            return self.client.learning_rate
        return self.client.learning_rate * (1.0 + math.cos(math.pi * round_index / self.rounds)) / 2.0

    def exact_part(self) -> "Learning":
        """The same with the step size of the exactly trained part."""
        rate = self.client.exact_learning_rate or self.client.learning_rate
        return replace(self, client=replace(self.client, learning_rate=rate))

    def make_estimator(self) -> Estimator:
        """Make the estimator; there are probes."""
        probes = self.estimator
        return Estimator(probes.mu, probes.probes, probes.distribution, probes.scheme)
