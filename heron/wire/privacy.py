"""Settings of differential privacy: what the updates that leave a client may say about one of its examples."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Gt, Lt

from heron.checked import Checked
from heron.ranges import NonNegativeFloat, NonNegativeInt, PositiveFloat

Sampling = Literal["poisson", "passes"]


@dataclass(frozen=True)
class Privacy(Checked, section="privacy"):
    """Section `[privacy]`: differential privacy of what clients learn, for each example (docs/concepts/privacy.md).

    It is on where `epsilon` or `noise` is above 0. It covers updates, not smashed data and labels; for labels alone
    there is `label_epsilon`, with it or without.

    Attributes:
        epsilon: budget of the whole run for those who do not see which examples a batch has; 0 for none. Without
            `noise` it determines the noise, for as many rounds as are set; with it, a run that would exceed it is
            refused.
        noise: standard deviation of the noise over `clip`; 0 to find it from `epsilon`.
        delta: probability with which the bound may fail; below 1/n of every client with n examples.
        clip: largest norm of an example's vector in a step: its projected gradients or, where everything learns
            exactly, its gradient. The numbers of all layer groups are one vector.
        exact_clip: largest norm of an example's gradient of the head, where that learns exactly (`client.exact=1`).
        sampling: `poisson` draws each example for a step by itself, from the client's secret, so that nobody else knows
            the batch and the noise counts for more; `passes` takes shuffled passes, which anybody can draw again.
        label_epsilon: epsilon of the label of each example, by itself and against everybody: the client learns from and
            sends labels of randomised response, drawn once for each example; 0 for the labels themselves.
        least_examples: number of examples that the account takes every client to have; one with fewer is refused. For
            devices whose data the server does not know; 0 for the numbers of the partition.
    """

    epsilon: NonNegativeFloat = 0.0
    noise: NonNegativeFloat = 0.0
    delta: Annotated[float, Gt(0), Lt(1)] = 1e-5
    clip: PositiveFloat = 1.0
    exact_clip: PositiveFloat = 1.0
    sampling: Sampling = "poisson"
    label_epsilon: NonNegativeFloat = 0.0
    least_examples: NonNegativeInt = 0

    @property
    def is_on(self) -> bool:
        """True if updates are clipped and noised."""
        return bool(self.epsilon or self.noise)

    @property
    def draws_batches(self) -> bool:
        """True if batches are drawn from clients' secrets; they differ in size, and may be empty."""
        return self.is_on and self.sampling == "poisson"

    @property
    def fixes_rounds(self) -> bool:
        """True if the noise was found for the number of rounds, so that a run cannot be continued with more."""
        return bool(self.epsilon and not self.noise)
