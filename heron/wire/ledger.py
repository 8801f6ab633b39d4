"""Counts every encoded byte once, by direction and kind."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from heron.errors import CheckpointError

Direction = Literal["uplink", "downlink"]
"""`uplink` is from clients to servers."""
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
"""Both directions."""
_ENTRIES = ("messages", "bytes")


class Ledger:
    """Traffic of a run so far.

    Examples:
        >>> ledger = Ledger()
        >>> ledger.record("uplink", {"smashed": 100, "framing": 28})
        >>> ledger.uplink_bytes, ledger.by_kind("uplink")
        (128, {'framing': 28, 'smashed': 100})
    """

    def __init__(self) -> None:
        self._bytes: dict[Direction, dict[str, int]] = {direction: {} for direction in DIRECTIONS}
        self._messages: dict[Direction, int] = dict.fromkeys(DIRECTIONS, 0)

    def record(self, direction: Direction, sizes: Mapping[str, int]) -> None:
        """Add one message.

        Args:
            direction: which way it went.
            sizes: its encoded bytes by kind.
        """
        counts = self._bytes[direction]
        for kind, size in sizes.items():
            counts[kind] = counts.get(kind, 0) + size
        self._messages[direction] += 1

    @property
    def uplink_bytes(self) -> int:
        """Bytes from clients to servers."""
        return sum(self._bytes["uplink"].values())

    @property
    def downlink_bytes(self) -> int:
        """Bytes from servers to clients."""
        return sum(self._bytes["downlink"].values())

    def by_kind(self, direction: Direction) -> dict[str, int]:
        """Bytes by kind, kinds in alphabetical order."""
        return dict(sorted(self._bytes[direction].items()))

    def num_messages(self, direction: Direction) -> int:
        """Messages that went this way."""
        return self._messages[direction]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {
            direction: {"messages": self._messages[direction], "bytes": self.by_kind(direction)}
            for direction in DIRECTIONS
        }

    @classmethod
    def from_dict(cls, values: Any) -> "Ledger":
        """Inverse of `to_dict`.

        Raises:
            CheckpointError: if the values are not a ledger's: directions or entries absent or unknown, counts that are
                not integers >= 0, bytes without a message.
        """
        ledger = cls()
        entries = _mapping(values, DIRECTIONS)
        for direction in DIRECTIONS:
            entry = _mapping(entries[direction], _ENTRIES)
            ledger._messages[direction] = _count(entry["messages"])
            ledger._bytes[direction] = {kind: _count(size) for kind, size in _mapping(entry["bytes"]).items()}
            if ledger._bytes[direction] and not ledger._messages[direction]:
                raise CheckpointError(f"expected a ledger, found {direction} bytes without a message")
        return ledger


def _mapping(values: Any, keys: tuple[str, ...] | None = None) -> dict[str, Any]:
    """A mapping from text, with exactly these keys."""
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise CheckpointError(f"expected a ledger's mapping from text, found {type(values).__name__}")
    if keys is not None and set(values) != set(keys):
        raise CheckpointError(f"expected a ledger's mapping with the keys {', '.join(keys)}, found others")
    return values


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise CheckpointError(f"expected a ledger's count as an integer, found {type(value).__name__}")
    if value < 0:
        raise CheckpointError("expected a ledger's count >= 0, found a negative one")
    return value
