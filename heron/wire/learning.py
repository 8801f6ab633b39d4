"""Settings of the clients' learning: a view of a run's settings, for those who learn and for those who replay."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from heron.privacy.mechanism import VectorMechanism
from heron.privacy.vault import Vault
from heron.seeds import StepKey
from heron.wire.groups import Client, Settings
from heron.zo.probes import Estimator


class ScalarTransform(Protocol):
    """A change of a step's projected gradients before they are used and sent: clipping, noise, a mask."""

    def __call__(self, projected_gradients_P: Any, key: StepKey) -> Any:
        """Return what takes the place of the projected gradients.

        Args:
            projected_gradients_P: of the step's probes, shape (P,), floating; not changed.
            key: the step's place in the run, for seeds.

        Returns:
            An array of the same kind and shape. The update is made with it, and it is what is sent.
        """
        ...


@dataclass(frozen=True)
class Learning:
    """Settings of the clients' learning, as an algorithm leaves them.

    Attributes:
        settings: of the run, with what the algorithm fixes in its place.
        transforms: applied in order to the projected gradients of every step, before they are used and sent.
        candidates: K, where directions are drawn from so many, fixed for the run; 0 where each probe has a new one.
        vault: keeps the secret that noise is drawn from; None where nothing is noised.
    """

    settings: Settings = field(default_factory=Settings)
    transforms: tuple[ScalarTransform, ...] = ()
    candidates: int = 0
    vault: Vault | None = None

    @property
    def client(self) -> Client:
        """The group `[client]`."""
        return self.settings.client

    @property
    def has_exact_head(self) -> bool:
        """True if the head alone learns exactly (`client.exact=1`), in a client without layer groups."""
        return self.client.exact == 1 and self.client.learning == "zeroth_order"

    @property
    def estimator(self) -> Estimator | None:
        """The estimator of a zeroth-order client; None for no probes at all."""
        probes = self.settings.estimator
        if not probes.probes:
            return None
        return Estimator(probes.mu, probes.probes, probes.distribution, probes.scheme)

    def mechanism(self, *, num_parts: int) -> VectorMechanism:
        """Return the mechanism by which a step's numbers are clipped, summed and noised.

        Args:
            num_parts: number of vectors that a step releases; each is clipped to a norm of its own, and noised so much
                more that all together say as much as one would.
        """
        privacy = self.settings.privacy
        return VectorMechanism(privacy.clip, privacy.noise_multiplier * math.sqrt(num_parts), self.client.batch_size)

    @property
    def sends_scalars(self) -> bool:
        """True if what is learned by zeroth order travels as projected gradients."""
        return self.settings.update == "scalars"

    def rate(self, round_index: int) -> float:
        """Step size in a round: eta_l (1 + cos(pi t / T)) / 2 where it decays (Loshchilov and Hutter, ICLR 2017)."""
        return self._decayed(self.client.learning_rate, round_index)

    def exact_rate(self, round_index: int) -> float:
        """Step size of the exactly trained part in a round."""
        return self._decayed(self.client.exact_learning_rate or self.client.learning_rate, round_index)

    def _decayed(self, rate: float, round_index: int) -> float:
        if self.client.schedule == "constant":
            return rate
        return rate * (1.0 + math.cos(math.pi * round_index / self.settings.rounds)) / 2.0


def with_fixed(settings: Settings, fixed: Mapping[str, Any]) -> Settings:
    """Return settings with some of them fixed.

    Args:
        settings: the settings; not changed.
        fixed: values by key; those of a section as a mapping of some of its keys.
    """
    for name, value in fixed.items():
        new = replace(getattr(settings, name), **value) if isinstance(value, Mapping) else value
        settings = replace(settings, **{name: new})
    return settings
