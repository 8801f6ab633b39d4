"""What can be wrong with a client in a round: named, counted, told in the log."""

from collections import Counter
from typing import Literal

from heron.errors import MessageError
from heron.flower.log import warn

Fault = Literal[
    "absent",
    "late",
    "failed",
    "declined",
    "lost",
    "lost_state",
    "undecodable",
    "stale",
    "duplicate",
    "too_large",
    "malformed",
    "not_finite",
]
"""What can be wrong.

- `absent`: no node is this client.
- `late`: no reply by the deadline.
- `failed`: its node or app ended.
- `declined`: it said that it cannot.
- `lost`: it lost what it was to go on with, and begins its round anew.
- `lost_state`: it began with an empty optimiser state instead of the one it had kept; its round counts.
- `undecodable`: not our bytes.
- `stale`: of another round, client or step.
- `duplicate`: once more what has arrived; the first counts.
- `too_large`: more bytes than agreed.
- `malformed`: not what its algorithm sends, in type, shape, number, order or label.
- `not_finite`: NaN or infinity, or it made the Main Server's loss that.
"""


class RefusedError(MessageError):
    """What a client sent in a round is not used.

    Args:
        fault: what is wrong.
        reason: one line without data.
    """

    def __init__(self, fault: Fault, reason: str) -> None:
        super().__init__(reason)
        self.fault: Fault = fault


class FaultLog:
    """Faults of one round.

    Args:
        run_id: Flower's.
        round_index: t, from 0.

    Attributes:
        counts: how often each happened.
    """

    def __init__(self, run_id: int, round_index: int) -> None:
        self._run_id = run_id
        self._round_index = round_index
        self.counts: Counter[Fault] = Counter()

    def add(self, client_id: int, fault: Fault, reason: str = "") -> None:
        """Count a fault and tell it."""
        self.counts[fault] += 1
        facts = {"reason": reason} if reason else {}
        warn("client at fault", run=self._run_id, round=self._round_index, client=client_id, fault=fault, **facts)

    def summary(self) -> str:
        """`late 2, malformed 1`."""
        return ", ".join(f"{fault} {number}" for fault, number in sorted(self.counts.items())) or "no faults"
