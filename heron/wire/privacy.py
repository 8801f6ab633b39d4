"""Settings of differential privacy: what the updates that leave a client may say about one of its examples."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Gt, Lt

from heron.checked import Checked
from heron.errors import ConfigError
from heron.ranges import NonNegativeInt, PositiveFloat

Sampling = Literal["poisson", "passes"]


@dataclass(frozen=True)
class Privacy(Checked, section="privacy"):
    """Section `[privacy]`: differential privacy of what clients learn, for each example (docs/concepts/privacy.md).

    It is on where `epsilon` or `noise` is a number. It covers updates, not smashed data and labels; for labels alone
    there is `label_epsilon`, with it or without.

    Attributes:
        epsilon: budget of the whole run for those who do not see which examples a batch has, or `off`. Without
            `noise` it determines the noise, for as many rounds as are set; with it, a run that would exceed it is
            refused.
        noise: standard deviation of the noise over `clip`; `auto` finds it from `epsilon`.
        delta: probability with which the bound may fail; below 1/n of every client with n examples.
        clip: largest norm of an example's vector in a step: its projected gradients or, where everything learns
            exactly, its gradient. The numbers of all layer groups are one vector.
        exact_clip: largest norm of an example's gradient of the head, where that learns exactly (`client.exact=1`).
        sampling: `poisson` draws each example for a step by itself, from the client's secret, so that nobody else knows
            the batch and the noise counts for more; `passes` takes shuffled passes, which anybody can draw again.
        label_epsilon: epsilon of the label of each example, by itself and against everybody: the client learns from and
            sends labels of randomised response, drawn once for each example; `off` for the labels themselves.
        least_examples: number of examples that the account takes every client to have; one with fewer is refused. For
            devices whose data the server does not know; 0 for the numbers of the partition.
    """

    epsilon: PositiveFloat | Literal["off"] = "off"
    noise: PositiveFloat | Literal["auto"] = "auto"
    delta: Annotated[float, Gt(0), Lt(1)] = 1e-5
    clip: PositiveFloat = 1.0
    exact_clip: PositiveFloat = 1.0
    sampling: Sampling = "poisson"
    label_epsilon: PositiveFloat | Literal["off"] = "off"
    least_examples: NonNegativeInt = 0

    @property
    def is_on(self) -> bool:
        """True if updates are clipped and noised."""
        return self.epsilon != "off" or self.noise != "auto"

    @property
    def budget(self) -> float | None:
        """`epsilon` as a number; None without one."""
        return None if self.epsilon == "off" else self.epsilon

    @property
    def label_budget(self) -> float | None:
        """`label_epsilon` as a number; None without one."""
        return None if self.label_epsilon == "off" else self.label_epsilon

    @property
    def noise_multiplier(self) -> float:
        """`noise` as a number, as it is in settings that a run's account has completed.

        Raises:
            ConfigError: if it has yet to be found.
        """
        if self.noise == "auto":
            raise ConfigError("expected privacy.noise as a number here, found auto; set it")
        return self.noise

    @property
    def draws_batches(self) -> bool:
        """True if batches are drawn from clients' secrets; they differ in size, and may be empty."""
        return self.is_on and self.sampling == "poisson"

    @property
    def fixes_rounds(self) -> bool:
        """True if the noise was found for the number of rounds, so that a run cannot be continued with more."""
        return self.epsilon != "off" and self.noise == "auto"
