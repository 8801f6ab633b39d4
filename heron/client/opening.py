"""How a client that sends scalars gets the round's model: a snapshot, or what it holds and what happened since."""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from heron.errors import CheckpointError, MessageError
from heron.wire import Broadcast, ModelBroadcast, ScalarBroadcast
from heron.wire.digests import digest_of
from heron.wire.walk_log import rebuild
from heron.wire.walks import Replayer, Theta

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
        like: tensors like those of theta, in the order of the flat buffer; only looked at.
        replayer: replays what the round's clients did.
    """

    def __init__(self, store: TensorStore, like: Theta, replayer: Replayer) -> None:
        self._store = store
        self._like = like
        self._replayer = replayer

    def open(self, broadcast: Broadcast) -> dict[str, Tensor] | None:
        """The model of the round, whose theta is kept for the next; None if the client needs a snapshot.

        Raises:
            MessageError: if a log of walks is damaged, or a snapshot is not one of theta.
        """
        if isinstance(broadcast, ModelBroadcast):
            theta = _fitting(broadcast.model, self._like)
            if theta is None:
                raise MessageError(
                    f"broadcast to client {broadcast.client_id} in round {broadcast.round_index}: expected all tensors "
                    f"of theta in their shapes, found others; both sides need the same network"
                )
        else:
            theta = self._caught_up(broadcast)
            if theta is None:
                return None
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
        theta = _fitting({key.removeprefix(_THETA): tensor for key, tensor in held.items()}, self._like)
        held_round = _held_round(held)
        if theta is None or not broadcast.base_round <= held_round <= broadcast.round_index:
            return None
        for walks in done:
            if held_round <= walks.round_index < broadcast.round_index:
                theta = self._replayer.advance(theta, walks)
        if broadcast.digest and digest_of(theta) != broadcast.digest:
            return None
        return theta


def _fitting(tensors: Mapping[str, Tensor], like: Theta) -> dict[str, Tensor] | None:
    """Theta among these tensors, on its device; None if one is absent or another."""
    found = {name: tensors[name].to(wanted.device) for name, wanted in like.items() if name in tensors}
    fits = all(
        name in found and (found[name].dtype, found[name].shape) == (wanted.dtype, wanted.shape)
        for name, wanted in like.items()
    )
    return found if fits else None


def _held_round(held: Mapping[str, Tensor]) -> int:
    """Whose theta this is; -1 where it does not say."""
    noted = held.get(_ROUND)
    return int(noted) if noted is not None and noted.dtype == torch.int64 and noted.shape == () else -1
