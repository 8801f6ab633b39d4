"""Settings and parts from which the two servers are built."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from heron.client.local import Criterion
from heron.split import SplitModel
from heron.wire.groups import Averaging, Server, Weighting
from heron.wire.learning import Learning
from heron.wire.update_codec import UpdateCodec


@dataclass(frozen=True)
class ServerSetup:
    """Parts and settings of a Main Server.

    Attributes:
        split: the cut network; the server part is trained in place.
        criterion: mean loss over a batch.
        run_seed: seed of the run; Dropout masks of a step depend on it and on the position of the step.
        settings: update rule, alignment of auxiliary networks, reuse of uploads.
    """

    split: SplitModel
    criterion: Criterion
    run_seed: int
    settings: Server


@dataclass(frozen=True)
class FedServerSetup:
    """Parts and settings of a Fed Server.

    Attributes:
        model: initial tensors by name that clients send back.
        downlink_only: initial tensors that clients only receive.
        run_seed: seed of the run.
        weighting: weights of the replies.
        averaging: kind of mean, bounds on a single reply, and rule that makes the next model from the mean.
        learning: settings of the clients' learning, for servers that replay their steps.
        buffers: names in `model` that are averaged regardless of the optimizer.
        replayed: names in `model` that are replayed from scalars, in the order of the clients' flat buffer.
        codec: encoding of tensors that travel; None for none.
    """

    model: Mapping[str, Tensor]
    downlink_only: Mapping[str, Tensor] = field(default_factory=dict)
    run_seed: int = 0
    weighting: Weighting = "equal"
    averaging: Averaging = field(default_factory=Averaging)
    learning: Learning = field(default_factory=Learning)
    buffers: Collection[str] = ()
    replayed: tuple[str, ...] = ()
    codec: UpdateCodec | None = None
