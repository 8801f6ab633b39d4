"""The outcome of a round."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class RoundResult:
    """What a round did.

    Attributes:
        round_index: t, from 0.
        participants: clients S_t, ascending.
        num_replies: how many of them replied; the others dropped out.
        server_loss: mean training loss of the Main Server; NaN where there was no upload.
        client_loss: mean local loss of the clients; NaN where they compute none.
        num_bounded: how many of the replies went further than they may, and were cut to their bound.
        faults: how often which fault of a client was met, where clients are on nodes of their own.
        simulated_s: time that the rounds so far would have taken on the devices and links; None without them.
    """

    round_index: int
    participants: list[int]
    num_replies: int
    server_loss: float
    client_loss: float
    num_bounded: int = 0
    faults: Mapping[str, int] = field(default_factory=dict)
    simulated_s: float | None = None
