"""The outcome of a round."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class RoundResult:
    """Result of a round.

    Attributes:
        round_index: t, from 0.
        participants: clients S_t, ascending.
        num_replies: number of participants that replied; the others dropped out.
        server_loss: mean training loss of the Main Server; NaN if there was no upload.
        client_loss: mean local loss of the clients; NaN if they compute none.
        num_bounded: number of replies that exceeded a bound and were reduced to it.
        faults: number of faults of each kind: of clients on separate nodes, and of sums under masks.
        simulated_s: simulated time of the rounds so far on the devices and links; None without them.
    """

    round_index: int
    participants: list[int]
    num_replies: int
    server_loss: float
    client_loss: float
    num_bounded: int = 0
    faults: Mapping[str, int] = field(default_factory=dict)
    simulated_s: float | None = None
