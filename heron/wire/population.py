"""The group of settings that describes the clients as a whole; the other groups are in `heron.wire.groups`."""

from dataclasses import dataclass
from typing import Literal

from heron.checked import Checked
from heron.ranges import NonNegativeInt, PositiveFloat, PositiveInt, Probability

Weighting = Literal["equal", "examples"]


@dataclass(frozen=True)
class Clients(Checked, section="clients"):
    """Section `[clients]`: the population of clients.

    Attributes:
        total: number of clients, N.
        per_round: participants of a round; 0 for all.
        partition: `iid`, `dirichlet` (label skew) or `natural` (as the data are grouped, e.g. by restaurant).
        alpha: concentration of the Dirichlet partition, > 0; small is skewed.
        weighting: weight of a client in the round's mean: `equal` (HERON-SFL), or its number of `examples` (FedAvg).
        dropout: probability that a participant vanishes during its round, in [0, 1).
        stragglers: probability that the deadline cuts a participant's round short, in [0, 1).
    """

    total: PositiveInt = 5
    per_round: NonNegativeInt = 0
    partition: Literal["iid", "dirichlet", "natural"] = "iid"
    alpha: PositiveFloat = 0.5
    weighting: Weighting = "equal"
    dropout: Probability = 0.0
    stragglers: Probability = 0.0
