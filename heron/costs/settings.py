"""Settings of a federation's training."""

from dataclasses import dataclass, field
from typing import Literal

from heron.client.attendance import Reliability
from heron.server.aggregation import Aggregation
from heron.server.fed_adam import FedAdam
from heron.server.fed_server import Weighting
from heron.server.setup import Alignment
from heron.wire import Codec, SmashedCodec
from heron.wire.learning import ClientSettings


@dataclass(frozen=True)
class FederationSettings:
    """Settings of a federation's training.

    Attributes:
        seed: seed of the run.
        clients_per_round: participants S_t of a round; None for all.
        batch_size: examples per local step (B).
        micro_batch: examples per forward pass on a client; None for the whole batch.
        checkpointing: whether first-order clients keep few activations and compute the rest again.
        local_steps: local steps per round (h); None for one pass over a client's data.
        upload_period: local steps per upload of smashed data (k); coupled algorithms upload every step.
        codec: how smashed data are written.
        update_codec: how model tensors travel: `fp32` as they are, `fp16`, `int8`, `int4` or `dither6` as coded
            changes.
        client: hyperparameters of the clients' learning.
        weighting: how replies count in the round's mean.
        reliability: how often clients drop out or run late.
        fed_optimizer: what the Fed Server makes of the round's mean; None takes the mean itself.
        aggregation: what that mean is, and how far one reply may go.
        server_optimizer: `"adam"` or `"sgd"`.
        server_learning_rate: eta_s.
        alignment: how the Main Server fits an auxiliary network to its own gradients.
        refresh_auxiliary: whether it does so with one that clients train; FSL-SAGE's server does in any case.
        reuse: further steps of the Main Server after each upload, on uploads that it has kept; decoupled rounds only.
        buffer_size: how many it keeps for that, >= 1.
        bundle: one message for all that a client sends in a round, and compressed headers; decoupled rounds only.
        wire: encode and decode every message, as a network would.
        device: where everything computes.
    """

    seed: int = 0
    clients_per_round: int | None = None
    batch_size: int = 32
    micro_batch: int | None = None
    checkpointing: bool = False
    local_steps: int | None = None
    upload_period: int = 1
    codec: SmashedCodec = field(default_factory=SmashedCodec)
    update_codec: Codec = "fp32"
    client: ClientSettings = field(default_factory=ClientSettings)
    weighting: Weighting = "equal"
    reliability: Reliability = field(default_factory=Reliability)
    fed_optimizer: FedAdam | None = None
    aggregation: Aggregation = field(default_factory=Aggregation)
    server_optimizer: Literal["adam", "sgd"] = "adam"
    server_learning_rate: float = 1e-3
    alignment: Alignment = field(default_factory=Alignment)
    refresh_auxiliary: bool = False
    reuse: int = 0
    buffer_size: int = 64
    bundle: bool = False
    wire: bool = False
    device: str = "cpu"
