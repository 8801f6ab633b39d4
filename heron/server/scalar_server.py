"""A Fed Server for zeroth-order learning: scalars on the uplink, and on the downlink if they are smaller than tensors.

It replays each client's steps, which gives the client's parameters bit for bit, and takes their mean in the same order
as it would for models that were sent. If clients share directions in seed groups, the scalars are summed first and
their sum is replayed once (`heron.wire.walks`). Tensors that are not replayed from scalars travel next to them.

`P` probes of all local steps of a client.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from heron.arrays import dtype_name, to_host
from heron.errors import ConfigError, MessageError, TrainingError
from heron.server.fed_server import FedServer
from heron.server.finite import require_finite
from heron.tensors import as_tensor
from heron.wire import Broadcast, ModelBroadcast, Reply, ScalarBroadcast, ScalarReply, encoded_sizes
from heron.wire.digests import digest_of
from heron.wire.learning import Learning
from heron.wire.messages import MAX_EXAMPLES
from heron.wire.terms import Terms
from heron.wire.walk_log import WalkLog, flatten
from heron.wire.walks import Replayer, RoundWalks, Walk, schedule_of, summed

_THETA = "replayed"
_LOG = "walk_log"
_MOMENTS = "theta_moments"


class ScalarFedServer(FedServer):
    """Fed Server that averages replayed parameters; a known client is sent a log of later steps, if that is smaller.

    With an optimizer of the mean, which nobody can replay, everybody is sent snapshots: for sums of seed groups.

    Args:
        terms: names and roles of the tensors that travel, and the settings of the mean.
        tensors: their initial values by name; copied.
        learning: settings of the clients' learning, whose steps are replayed.

    Attributes:
        theta: replayed parameters by name.

    Raises:
        ConfigError: if an optimizer is set for the mean, and there are no seed groups.
    """

    def __init__(self, terms: Terms, tensors: Mapping[str, Tensor], learning: Learning) -> None:
        if terms.settings.fed_server.optimizer != "average" and not learning.settings.seed_groups:
            raise ConfigError(
                f"expected fed_server.optimizer=average if clients send scalars without seed_groups, whose mean other "
                f"clients replay; found {terms.settings.fed_server.optimizer}; leave it, or set seed_groups"
            )
        super().__init__(terms, tensors)
        self.theta = {name: tensors[name].detach().clone() for name in terms.replayed}
        self._replayer = Replayer(learning)
        self._seed_groups = learning.settings.seed_groups
        self._digest_period = learning.settings.digest_period
        self._log = WalkLog(sum(tensor.nbytes for tensor in self.theta.values()))
        self._walks: list[Walk] = []
        self._round_index = 0
        self._digests: dict[int, int] = {}
        self._theta_moments: dict[str, Tensor] = {}

    def broadcast(self, round_index: int, client_id: int) -> Broadcast:
        """A log of the steps that a client missed, if its state is known and the log is smaller; else a snapshot."""
        self._round_index = round_index
        rest = self.packed(self.model | self.downlink_only)
        snapshot = ModelBroadcast(round_index, client_id, self.theta | rest)
        known = self._log.since_known(client_id)
        if known is None:
            return snapshot
        base, missed = known
        digest = 0 if round_index % self._digest_period else self._digest(round_index)
        scalars = ScalarBroadcast(round_index, client_id, base, digest, *flatten(missed), rest)
        return scalars if _num_bytes(scalars) < _num_bytes(snapshot) else snapshot

    def global_model(self) -> dict[str, Tensor]:
        """Tensors that clients start a round from, by name; not copies."""
        return self.theta | super().global_model()

    def check(self, reply: Reply) -> None:
        """Refuse what `accept` would refuse, without changing anything."""
        self._scalars(reply)
        super().check(reply)

    def save_point(self) -> Callable[[], None]:
        """Return a function that undoes all later changes."""
        undo_rest, theta, log = super().save_point(), dict(self.theta), self._log.state()
        moments = dict(self._theta_moments)

        def undo() -> None:
            undo_rest()
            self._walks = []
            self.theta, self._theta_moments = theta, moments
            self._log.load_state(log)
            self._digests.clear()

        return undo

    def accept(self, reply: Reply) -> None:
        """Record the client's steps; its other tensors are added to their mean.

        Raises:
            MessageError: if it does not contain q scalars for each step, or has the wrong tensors.
            TrainingError: if a value is not finite.
        """
        scalars_P = self._scalars(reply)
        super().accept(reply)
        scalars_P, was_bounded = self.aggregation.bounded_scalars(scalars_P)
        if was_bounded:
            self._bounded.add(reply.client_id)
        schedule = schedule_of(reply.client_id, self._seed_groups)
        self._walks.append(Walk(schedule, int(self.weight(reply)), scalars_P))
        self._log.acknowledge(reply.client_id, reply.round_index)

    def average(self) -> tuple[float, int]:
        """Replace theta by the mean of the replayed parameters, or step towards it, and other tensors likewise.

        Without a reply both stay as they are.

        Raises:
            TrainingError: if theta is no longer finite.
        """
        walks, self._walks = self._walks, []
        done = RoundWalks(self._round_index, tuple(self._merged(walks)))
        theta, moments = self._replayer.advance(self.theta, done), self._theta_moments
        if done.walks and self.optimizer is not None:
            theta, moments = self.optimizer.step(self.theta, theta, moments)
        require_finite(theta | moments)
        outcome = super().average()
        self.theta, self._theta_moments = theta, moments
        if self.optimizer is None:
            self._log.append(done)
        else:  # a step that is no walk: everybody needs a snapshot
            self._log.clear()
        return outcome

    def replace(self, tensors: Mapping[str, Tensor]) -> None:
        """Replace tensors by those that another server has made, by name; logs do not contain them."""
        super().replace(tensors)
        changed = {name: tensor for name, tensor in tensors.items() if name in self.theta}
        if changed:
            self.theta |= changed
            self._log.clear()
            self._digests.clear()

    def state(self) -> dict[str, dict[str, Tensor]]:
        """State that the next round depends on: groups of tensors by name."""
        log = {name: as_tensor(array) for name, array in self._log.state().items()}
        return super().state() | {_THETA: self.theta, _LOG: log, _MOMENTS: self._theta_moments}

    def load_state(self, groups: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Continue from a result of `state`."""
        super().load_state(groups)
        self.theta = {name: groups[_THETA][name] for name in self.theta}  # a file does not keep the order
        self._log.load_state(groups[_LOG])
        self._theta_moments = dict(groups.get(_MOMENTS, {}))
        self._digests.clear()

    def _merged(self, walks: list[Walk]) -> list[Walk]:
        """Return what is replayed of the clients' walks: with seed groups their sums."""
        return summed(walks, dtype_name(next(iter(self.theta.values())))) if self._seed_groups else walks

    def _digest(self, round_index: int) -> int:
        if round_index not in self._digests:
            self._digests = {round_index: digest_of(self.theta)}
        return self._digests[round_index]

    def _num_scalars(self, reply: Reply) -> int:
        """Number of scalars in a reply: one for each probe."""
        return reply.num_steps * self._replayer.num_probes

    def _scalars(self, reply: Reply) -> NDArray[Any]:
        """Check a reply's projected gradients and return them, shape (P,), on the host."""
        return checked_scalars(reply, self._num_scalars(reply), self._replayer.num_probes)


def _num_bytes(message: Broadcast) -> int:
    return sum(encoded_sizes(message).values())


def checked_scalars(reply: Reply, num_scalars: int, num_probes: int) -> NDArray[Any]:
    """Check a reply's projected gradients and return them, shape (P,), on the host.

    Args:
        reply: of a client.
        num_scalars: P, as many as there should be.
        num_probes: probes of a step, for the message.

    Raises:
        MessageError: if the reply holds none, or others.
        TrainingError: if one is not finite.
    """
    who = f"client {reply.client_id} in round {reply.round_index + 1}"
    if not isinstance(reply, ScalarReply):
        raise MessageError(
            f"{who}: expected a ScalarReply, found {type(reply).__name__}; it runs another algorithm or update"
        )
    scalars, expected = to_host(reply.projected_gradients), (num_scalars,)
    if reply.num_steps < 1 or scalars.dtype != np.float32 or scalars.shape != expected:
        raise MessageError(
            f"{who}: expected projected gradients as float32 of shape {expected} for {num_probes} probes of "
            f"{reply.num_steps} steps, found {scalars.dtype} {scalars.shape[:8]}"
        )
    if not 0 < reply.num_examples <= MAX_EXAMPLES:
        raise MessageError(f"{who}: expected 1 to {MAX_EXAMPLES} examples, found {reply.num_examples}")
    if not bool(np.isfinite(scalars).all()):
        raise TrainingError(
            f"expected finite projected gradients, found NaN or infinity from {who}; lower client.learning_rate or "
            f"check its data"
        )
    return scalars
