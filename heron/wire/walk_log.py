"""The Fed Server's memory of past rounds, from which clients catch up by replay, and its flat form.

A log of rounds b, ..., t - 1 takes a client that holds theta^b to theta^t. It is kept as long as it can be smaller than
theta itself; who needs more gets a snapshot.

`n` walks, `P` probes of all of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heron.arrays import Array, dtype_name, is_floating, to_host
from heron.errors import MessageError
from heron.wire.walks import RoundWalks, Walk

_ENTRY = 4  # round, schedule, weight, number of scalars


class WalkLog:
    """The walks of the latest rounds, and which round's theta each client holds.

    Args:
        max_bytes: size of theta: a log that is larger is of no use.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._rounds: list[RoundWalks] = []
        self._first = 0
        self._holds: dict[int, int] = {}

    def append(self, done: RoundWalks) -> None:
        """Add the round after the last; drop rounds that nobody needs, and the oldest of a log larger than theta."""
        self._first = max(self._first, min(self._holds.values(), default=done.round_index + 1))
        self._rounds = [one for one in (*self._rounds, done) if one.walks and one.round_index >= self._first]
        num_bytes = sum(map(_num_bytes, self._rounds))
        while num_bytes > self._max_bytes:
            oldest = self._rounds.pop(0)
            num_bytes -= _num_bytes(oldest)
            self._first = oldest.round_index + 1

    def clear(self) -> None:
        """Forget everything: theta was changed by something that is not a walk, and nobody can catch up."""
        self._rounds = []
        self._holds = {}

    def acknowledge(self, client_id: int, round_index: int) -> None:
        """Note that a client has shown by its reply that it holds the theta of this round."""
        self._holds[client_id] = round_index

    def since_known(self, client_id: int) -> tuple[int, list[RoundWalks]] | None:
        """(b, rounds with walks from b on) for a client known to hold theta^b; None where a snapshot is due."""
        base = self._holds.get(client_id)
        if base is None or base < self._first:
            return None
        return base, [done for done in self._rounds if done.round_index >= base]

    def state(self) -> dict[str, NDArray[Any]]:
        """Arrays for a checkpoint."""
        entries, scalars_P = flatten(self._rounds)
        return {
            "entries": entries,
            "scalars": scalars_P,
            "first": np.array(self._first, np.int64),
            "holds": np.array(sorted(self._holds.items()), np.int64).reshape(-1, 2),
        }

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Continue from what `state` returned, as arrays or tensors."""
        self._rounds = list(rebuild(state["entries"], state["scalars"]))
        self._first = int(state["first"])
        self._holds = dict(to_host(state["holds"]).tolist())


def _num_bytes(done: RoundWalks) -> int:
    """Size of a round in the form of `flatten`."""
    return sum(4 * _ENTRY + walk.scalars_P.nbytes for walk in done.walks)


def flatten(rounds: Sequence[RoundWalks]) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Write rounds as two arrays.

    Returns:
        Round, schedule, weight and number of scalars of each walk, shape (n, 4), int32, and all scalars, shape (P,).
    """
    pairs = [(done.round_index, walk) for done in rounds for walk in done.walks]
    entries = [(index, walk.schedule, walk.weight, len(walk.scalars_P)) for index, walk in pairs]
    scalars = [walk.scalars_P for _, walk in pairs]
    return (
        np.array(entries, np.int32).reshape(-1, _ENTRY),
        np.concat(scalars) if scalars else np.zeros(0, np.float32),
    )


def rebuild(entries: Array, scalars_P: Array, multiple_of: int = 1) -> Iterator[RoundWalks]:
    """Inverse of `flatten`, round by round; rounds without walks are absent.

    Args:
        entries: as `flatten` returns them; arrays or tensors.
        scalars_P: likewise.
        multiple_of: q, of which each walk's number of scalars is a multiple.

    Raises:
        MessageError: if they do not fit together.
    """
    table, scalars = to_host(entries), to_host(scalars_P)
    if table.dtype != np.int32 or table.ndim != 2 or table.shape[1] != _ENTRY:
        raise MessageError(
            f"expected walks as int32 of shape (n, {_ENTRY}), found {dtype_name(table)} {table.shape[:8]}"
        )
    with np.errstate(invalid="ignore"):  # NaN in bfloat16 warns
        is_finite = scalars.ndim == 1 and is_floating(scalars) and bool(np.isfinite(scalars).all())
    if not is_finite:
        raise MessageError("expected the walks' scalars as finite floats of shape (P,), found something else")
    rows: list[list[int]] = table.tolist()
    indices = [row[0] for row in rows]
    if indices != sorted(indices) or any(min(row) < 0 or row[2] < 1 or row[3] % multiple_of for row in rows):
        raise MessageError("expected walks in the order of their rounds, weights >= 1 and whole steps, found others")
    if sum(row[3] for row in rows) != len(scalars):
        raise MessageError(f"expected {sum(row[3] for row in rows)} scalars for the walks, found {len(scalars)}")
    stops = accumulate((row[3] for row in rows), initial=0)
    walks: dict[int, list[Walk]] = {}
    for (index, schedule, weight, _), (start, stop) in zip(rows, pairwise(stops), strict=True):
        walks.setdefault(index, []).append(Walk(schedule, weight, scalars[start:stop]))
    return (RoundWalks(index, tuple(of_round)) for index, of_round in walks.items())
