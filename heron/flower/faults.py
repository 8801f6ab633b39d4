"""Faults of clients in a round: named, counted and logged."""

from collections import Counter
from typing import Literal

from heron.errors import HeronError, MessageError
from heron.flower.log import warn

Fault = Literal[
    "absent",
    "late",
    "failed",
    "declined",
    "withheld",
    "lost",
    "lost_state",
    "undecodable",
    "stale",
    "duplicate",
    "too_large",
    "malformed",
    "not_finite",
    "alone",
]
"""Kinds of faults.

- `absent`: no node serves this client.
- `late`: no reply by the deadline.
- `failed`: its node or app ended.
- `declined`: it reported that it cannot.
- `withheld`: its private releases are spent, by its own notes or the servers' account, or its round would be answered
  with something else than before.
- `lost`: it lost state that it needs to continue, and begins its round again.
- `lost_state`: it began with an empty optimiser state instead of the one it had kept; its round counts. In a private
  round that it has released before, it is charged first and begins its round again.
- `undecodable`: its bytes are not in heron's format.
- `stale`: a message of another round, client or step.
- `duplicate`: a second copy of a message; the first counts.
- `too_large`: more bytes than allowed.
- `malformed`: not a message of its algorithm, in type, shape, number, order or label.
- `not_finite`: NaN or infinity, in the message or in the Main Server's loss because of it.
- `alone`: with `secure_sum`, fewer than three clients of its seed group are there, so that no sum hides it.
"""


class RefusedError(MessageError):
    """Messages of a client in a round that are not used.

    Args:
        fault: kind of fault.
        reason: one line without data.
    """

    def __init__(self, fault: Fault, reason: str) -> None:
        super().__init__(reason)
        self.fault: Fault = fault


class TooFewError(HeronError):
    """Fewer clients of a round succeeded than suffice, and nothing has been revealed about their masks."""


class FaultLog:
    """Faults of one round.

    Args:
        run_id: Flower's number of the run.
        round_index: t, from 0.

    Attributes:
        counts: number of faults of each kind.
    """

    def __init__(self, run_id: int, round_index: int) -> None:
        self._run_id = run_id
        self._round_index = round_index
        self.counts: Counter[Fault] = Counter()

    def add(self, client_id: int, fault: Fault, reason: str = "") -> None:
        """Count a fault and log it."""
        self.counts[fault] += 1
        facts = {"reason": reason} if reason else {}
        warn("client at fault", run=self._run_id, round=self._round_index + 1, client=client_id, fault=fault, **facts)

    def advice(self) -> str:
        """Text on what to do about a round for which too few clients replied."""
        if self.counts.keys() == {"withheld"}:
            return "clients hold back what would tell too much: a privacy budget may be spent; see the log"
        return "see the log, lower min_clients or raise round_timeout_s, and resume"

    def summary(self) -> str:
        """Text such as `late 2, malformed 1`."""
        return ", ".join(f"{fault} {number}" for fault, number in sorted(self.counts.items())) or "no faults"
