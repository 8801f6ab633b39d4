"""The parts that the two servers are made of."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from heron.server.aggregation import Aggregation
from heron.server.fed_adam import FedAdam
from heron.server.fed_server import Weighting
from heron.split import SplitModel
from heron.split.criterion import Criterion
from heron.wire.learning import ClientSettings
from heron.wire.update_codec import UpdateCodec
from heron.zo.rules import OptimizerName


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


@dataclass(frozen=True)
class FedServerSetup:
    """What a Fed Server is made of.

    Attributes:
        model: initial tensors by name that clients send back.
        downlink_only: initial tensors that they receive only.
        weighting: how replies count.
        run_seed: seed of the run.
        client: hyperparameters of the clients, for servers that replay what they did.
        optimizer: what the mean of the replies becomes; None for the global model itself.
        buffers: names in `model` that are averaged whatever the optimiser.
        replayed: names in `model` that replies tell by scalars, in the order of the clients' flat buffer.
        codec: how tensors travel; None for as they are.
        aggregation: what the mean of replies is, and how far one may go.
    """

    model: Mapping[str, Tensor]
    downlink_only: Mapping[str, Tensor]
    weighting: Weighting
    run_seed: int
    client: ClientSettings
    optimizer: FedAdam | None = None
    buffers: Collection[str] = ()
    replayed: tuple[str, ...] = ()
    codec: UpdateCodec | None = None
    aggregation: Aggregation = field(default_factory=Aggregation)
