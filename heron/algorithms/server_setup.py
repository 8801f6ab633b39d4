"""What a Main Server is made of."""

from dataclasses import dataclass, field

from heron.algorithms.descent import OptimizerName
from heron.algorithms.local import Criterion
from heron.split import SplitModel


@dataclass(frozen=True)
class Alignment:
    """How a server fits the auxiliary network to its own gradients (FSL-SAGE, or where asked to refresh it).

    Attributes:
        period: rounds from one alignment to the next, >= 1.
        steps: passes over the stored smashed data in each, >= 1.
        learning_rate: of its Adam, > 0.
    """

    period: int = 1
    steps: int = 10
    learning_rate: float = 1e-2


@dataclass(frozen=True)
class ServerSetup:
    """What a Main Server is made of.

    Attributes:
        split: the cut network; the server part is trained in place.
        criterion: mean loss over a batch.
        optimizer: update rule of theta_s.
        learning_rate: its step size eta_s.
        run_seed: seed of the run; Dropout masks of a step are a function of it and the step's place.
        alignment: for servers that align auxiliary networks.
        refresh_auxiliary: whether the server aligns an auxiliary network that the clients train.
        reuse: further steps after each upload, on uploads that were kept.
        buffer_size: how many are kept for that, >= 1.
    """

    split: SplitModel
    criterion: Criterion
    optimizer: OptimizerName
    learning_rate: float
    run_seed: int
    alignment: Alignment = field(default_factory=Alignment)
    refresh_auxiliary: bool = False
    reuse: int = 0
    buffer_size: int = 1
