"""Models of clients that send scalars: from a snapshot, or from the theta that a client holds and the walks since."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from heron.arrays import Array, to_host
from heron.errors import CheckpointError, MessageError
from heron.wire import Broadcast, ModelBroadcast, ScalarBroadcast
from heron.wire.digests import digest_of
from heron.wire.kinds import to_kind_of
from heron.wire.walk_log import rebuild
from heron.wire.walks import Replayer, Theta

_ROUND = "round"
_THETA = "theta/"


class TensorStore(Protocol):
    """Place outside a client's memory that keeps arrays from one of its rounds to the next."""

    def take(self, client_id: int) -> Mapping[str, Array]:
        """Hand over the arrays that were kept, and forget them; empty if there are none.

        Raises:
            CheckpointError: if it cannot be read any longer.
        """
        ...

    def keep(self, client_id: int, round_index: int, state: Mapping[str, Array]) -> None:
        """Keep arrays that a round has left."""
        ...


class Opener:
    """Turns broadcasts into models for clients that hold the theta of their last round.

    Args:
        store: place in which they hold it.
        like: arrays like those of theta, in the order of the flat buffer; only looked at. Models that are opened have
            a theta of the same kind and device.
        replayer: replays what the round's clients did.
    """

    def __init__(self, store: TensorStore, like: Theta, replayer: Replayer) -> None:
        self._store = store
        self._like = like
        self._replayer = replayer

    def open(self, broadcast: Broadcast) -> dict[str, Any] | None:
        """Make the model of the round, and keep its theta for the next; None if the client needs a snapshot.

        Raises:
            MessageError: if a log of walks is damaged, or a snapshot is not one of theta.
        """
        theta = self._snapshot(broadcast) if isinstance(broadcast, ModelBroadcast) else self._caught_up(broadcast)
        if theta is None:
            return None
        self._keep(broadcast, theta)
        return {**broadcast.model, **theta}

    def _snapshot(self, broadcast: ModelBroadcast) -> dict[str, Any]:
        theta = fitting(broadcast.model, self._like)
        if theta is None:
            raise MessageError(
                f"broadcast to client {broadcast.client_id} in round {broadcast.round_index + 1}: expected all tensors "
                f"of theta in their shapes, found others; both sides need the same network"
            )
        return theta

    def _keep(self, broadcast: Broadcast, theta: Theta) -> None:
        kept = {f"{_THETA}{name}": array for name, array in theta.items()}
        kept[_ROUND] = np.array(broadcast.round_index, np.int64)
        self._store.keep(broadcast.client_id, broadcast.round_index, kept)

    def _caught_up(self, broadcast: ScalarBroadcast) -> dict[str, Any] | None:
        """Theta of the round; None if the client holds nothing to start from, or arrives somewhere else."""
        done = rebuild(broadcast.entries, broadcast.scalars, self._replayer.num_probes)
        held = take_held(self._store, broadcast.client_id)
        theta = fitting(kept_theta(held), self._like)
        held_round = _held_round(held)
        if theta is None or not broadcast.base_round <= held_round <= broadcast.round_index:
            return None
        for walks in done:
            if held_round <= walks.round_index < broadcast.round_index:
                theta = self._replayer.advance(theta, walks)
        if broadcast.digest and digest_of(theta) != broadcast.digest:
            return None
        return theta


def take_held(store: TensorStore, client_id: int) -> Mapping[str, Array]:
    """Take the arrays that a client holds; none where they cannot be read any longer."""
    try:
        return store.take(client_id)
    except CheckpointError:
        return {}


def kept_theta(held: Mapping[str, Array]) -> dict[str, Array]:
    """Return the theta among arrays that were kept, by the names of its parameters."""
    return {key.removeprefix(_THETA): array for key, array in held.items()}


def fitting(arrays: Mapping[str, Array], like: Theta) -> dict[str, Any] | None:
    """Theta among these arrays, in its kind and on its device; None if one is absent or another."""
    found = {name: to_kind_of(arrays[name], wanted) for name, wanted in like.items() if name in arrays}
    fits = all(
        name in found and (found[name].dtype, found[name].shape) == (wanted.dtype, wanted.shape)
        for name, wanted in like.items()
    )
    return found if fits else None


def _held_round(held: Mapping[str, Array]) -> int:
    """Round of the theta that is held; -1 where it does not say."""
    if _ROUND not in held:
        return -1
    noted = to_host(held[_ROUND])
    return int(noted) if noted.dtype == np.int64 and noted.shape == () else -1
