"""Settings and parts from which the two servers are built."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from heron.client.local import Criterion
from heron.server.aggregation import Aggregation
from heron.server.fed_adam import FedAdam
from heron.server.fed_server import Weighting
from heron.split import SplitModel
from heron.wire.learning import ClientSettings
from heron.wire.update_codec import UpdateCodec
from heron.zo.rules import OptimizerName


@dataclass(frozen=True)
class Alignment:
    """Settings of fitting the auxiliary network to the server's own gradients (FSL-SAGE, or as an optional refresh).

    Attributes:
        period: number of rounds between two alignments, >= 1.
        steps: number of passes over the stored smashed data in each, >= 1.
        learning_rate: step size of Adam in the alignment, > 0.
    """

    period: int = 1
    steps: int = 10
    learning_rate: float = 1e-2


@dataclass(frozen=True)
class ServerSetup:
    """Parts and settings of a Main Server.

    Attributes:
        split: the cut network; the server part is trained in place.
        criterion: mean loss over a batch.
        optimizer: update rule of theta_s.
        learning_rate: its step size eta_s.
        run_seed: seed of the run; Dropout masks of a step depend on it and on the position of the step.
        alignment: settings for servers that align auxiliary networks.
        refresh_auxiliary: whether the server aligns an auxiliary network that the clients train.
        reuse: number of further steps after each upload, on uploads that were kept.
        buffer_size: number of uploads kept for that, >= 1.
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
    """Parts and settings of a Fed Server.

    Attributes:
        model: initial tensors by name that clients send back.
        downlink_only: initial tensors that clients only receive.
        weighting: weights of the replies.
        run_seed: seed of the run.
        client: hyperparameters of the clients, for servers that replay their steps.
        optimizer: rule that makes the next model from the mean; None takes the mean itself.
        buffers: names in `model` that are averaged regardless of the optimizer.
        replayed: names in `model` that are replayed from scalars, in the order of the clients' flat buffer.
        codec: encoding of tensors that travel; None for none.
        aggregation: kind of mean, and bounds on a single reply.
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
