"""How a client that sends scalars gets the round's model: a snapshot, or what it holds and what happened since."""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from heron.algorithms.digests import digest_of
from heron.algorithms.walk_log import rebuild
from heron.algorithms.walks import Replayer
from heron.comms import Broadcast, ModelBroadcast, ScalarBroadcast
from heron.errors import CheckpointError

_ROUND = "round"
_THETA = "theta/"


class TensorStore(Protocol):
    """Where a client keeps tensors from one of its rounds to the next, outside its memory."""

    def take(self, client_id: int) -> dict[str, Tensor]:
        """What was kept, which is forgotten; empty if there is nothing.

        Raises:
            CheckpointError: if it cannot be read any longer.
        """
        ...

    def keep(self, client_id: int, round_index: int, state: dict[str, Tensor]) -> None:
        """Keep tensors that a round has left."""
        ...


class Opener:
    """Turns broadcasts into models for clients that hold the theta of their last round.

    Args:
        store: where they hold it.
        names: of theta, in the order of the flat buffer.
        replayer: replays what the round's clients did.
    """

    def __init__(self, store: TensorStore, names: tuple[str, ...], replayer: Replayer) -> None:
        self._store = store
        self._names = names
        self._replayer = replayer

    def open(self, broadcast: Broadcast) -> dict[str, Tensor] | None:
        """The model of the round, whose theta is kept for the next; None if the client needs a snapshot.

        Raises:
            MessageError: if a log of walks is damaged.
        """
        if isinstance(broadcast, ModelBroadcast):
            theta = {name: broadcast.model[name] for name in self._names}
        else:
            held = self._caught_up(broadcast)
            if held is None:
                return None
            theta = held
        kept = {f"{_THETA}{name}": tensor for name, tensor in theta.items()}
        kept[_ROUND] = torch.tensor(broadcast.round_index)
        self._store.keep(broadcast.client_id, broadcast.round_index, kept)
        return {**broadcast.model, **theta}

    def _caught_up(self, broadcast: ScalarBroadcast) -> dict[str, Tensor] | None:
        """Theta of the round; None if the client holds nothing to start from, or arrives somewhere else."""
        done = rebuild(broadcast.entries, broadcast.scalars, self._replayer.num_probes)
        try:
            held = self._store.take(broadcast.client_id)
        except CheckpointError:
            return None
        theta = _theta(held, self._names)
        if theta is None or not broadcast.base_round <= int(held[_ROUND]) <= broadcast.round_index:
            return None
        for walks in done:
            if int(held[_ROUND]) <= walks.round_index < broadcast.round_index:
                theta = self._replayer.advance(theta, walks)
        if broadcast.digest and digest_of(theta) != broadcast.digest:
            return None
        return theta


def _theta(held: Mapping[str, Tensor], names: tuple[str, ...]) -> dict[str, Tensor] | None:
    if held.keys() != {_ROUND, *(f"{_THETA}{name}" for name in names)}:
        return None
    return {name: held[f"{_THETA}{name}"] for name in names}
