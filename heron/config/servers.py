"""The sections about the two servers."""

from typing import Annotated, Literal

from pydantic import Field

from heron.config.section import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Probability, Section
from heron.server.aggregation import Aggregation, AggregationMethod
from heron.server.fed_adam import FedAdam


class FedServerConfig(Section):
    """What the Fed Server makes of a round's replies.

    Attributes:
        optimizer: `average` takes the mean; `adam` makes a step of FedAdam (Reddi et al., ICLR 2021) with the averaged
            update. Statistics of BatchNorm are averaged by both. `average` ignores the four keys of FedAdam.
        learning_rate: eta of FedAdam.
        beta1: decay of its first moment, in [0, 1).
        beta2: decay of its second moment, in [0, 1).
        epsilon: its tau.
        aggregation: what the mean is: `mean` itself, or coordinate by coordinate `median` or `trimmed_mean` (Yin et
            al., ICML 2018), whatever `clients.weighting`. With `update=scalars` only of what travels as tensors.
        trim: share of replies that `trimmed_mean` leaves out at either end, in [0, 0.5), rounded up.
        max_norm: largest norm of a client's change of what it trains and sends as tensors; a larger one is scaled down
            to it; 0 for no bound.
        max_scalar: largest absolute projected gradient with `update=scalars`; a larger one is cut to it; 0 for no
            bound.
    """

    optimizer: Literal["average", "adam"]
    learning_rate: PositiveFloat
    beta1: Probability
    beta2: Probability
    epsilon: PositiveFloat
    aggregation: AggregationMethod
    trim: Annotated[float, Field(ge=0, lt=0.5)]
    max_norm: NonNegativeFloat
    max_scalar: NonNegativeFloat

    def fed_adam(self) -> FedAdam | None:
        """What makes a step with the mean; None where the mean is taken."""
        if self.optimizer == "average":
            return None
        return FedAdam(self.learning_rate, self.beta1, self.beta2, self.epsilon)

    def robust_mean(self) -> Aggregation:
        """What the mean is, and how far one client may go."""
        return Aggregation(self.aggregation, self.trim, self.max_norm, self.max_scalar)


class ServerConfig(Section):
    """The Main Server.

    Attributes:
        optimizer: `adam` or `sgd`.
        learning_rate: eta_s.
        refresh_auxiliary: whether the Main Server aligns the auxiliary network that clients train with its own
            gradients, after it was averaged; FSL-SAGE aligns its own in any case.
        reuse: further steps after each upload, on uploads drawn from the last `buffer_size`; decoupled algorithms only.
        buffer_size: uploads kept for that, packed as they came.
        alignment_period: rounds from one alignment of the auxiliary network to the next.
        alignment_steps: passes over the stored smashed data in each.
        alignment_learning_rate: of its Adam.
    """

    optimizer: Literal["adam", "sgd"]
    learning_rate: PositiveFloat
    refresh_auxiliary: bool
    reuse: NonNegativeInt
    buffer_size: PositiveInt
    alignment_period: PositiveInt
    alignment_steps: PositiveInt
    alignment_learning_rate: PositiveFloat
