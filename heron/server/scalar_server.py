"""A Fed Server to which zeroth-order learning comes up as scalars, and goes down as scalars where they are smaller.

It replays what each client did, which gives the client's parameters bit for bit, and takes the same mean of them in the
same order as it would of models that were sent. Where clients share directions in seed groups the scalars are summed
first and their sum is replayed once (`heron.wire.walks`). Tensors that scalars do not tell travel beside them.

`P` probes of all local steps of a client.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from heron.errors import ConfigError, MessageError, TrainingError
from heron.server.fed_server import FedServer
from heron.server.finite import require_finite
from heron.server.setup import FedServerSetup
from heron.wire import Broadcast, ModelBroadcast, Reply, ScalarBroadcast, ScalarReply, encoded_sizes
from heron.wire.digests import digest_of
from heron.wire.walk_log import WalkLog, flatten
from heron.wire.walks import Replayer, RoundWalks, Walk, schedule_of, summed

_THETA = "replayed"
_LOG = "walk_log"
_MAX_EXAMPLES = 2**31 - 1  # weights lie in int32 where a log is sent


class ScalarFedServer(FedServer):
    """Averages what it replays; a client that was there before is sent what happened since, if that is smaller.

    Args:
        setup: what clients train, and which of it they tell by scalars; seed and hyperparameters of the clients.

    Raises:
        ConfigError: if the mean is to be given to an optimiser, whose steps clients could not repeat.
    """

    def __init__(self, setup: FedServerSetup) -> None:
        if setup.optimizer is not None:
            raise ConfigError(
                "expected fed_server.optimizer=average where clients send scalars, whose mean others replay; "
                "found another one"
            )
        rest = {name: tensor for name, tensor in setup.model.items() if name not in setup.replayed}
        super().__init__(
            rest,
            setup.downlink_only,
            setup.weighting,
            buffers=setup.buffers,
            codec=setup.codec,
            aggregation=setup.aggregation,
        )
        self.theta = {name: setup.model[name].detach().clone() for name in setup.replayed}
        self._replayer = Replayer(setup.run_seed, setup.client)
        self._seed_groups = setup.client.seed_groups
        self._digest_period = setup.client.digest_period
        self._log = WalkLog(sum(tensor.nbytes for tensor in self.theta.values()))
        self._walks: list[Walk] = []
        self._round_index = 0
        self._digests: dict[int, int] = {}

    def broadcast(self, round_index: int, client_id: int) -> Broadcast:
        """What the client has missed, if it is known what the client holds and a snapshot is not smaller."""
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
        """What clients start a round from, by name; the tensors themselves."""
        return self.theta | super().global_model()

    def check(self, reply: Reply) -> None:
        """Refuse what `accept` would refuse, and change nothing."""
        self._scalars(reply)
        super().check(reply)

    def save_point(self) -> Callable[[], None]:
        """As of every Fed Server."""
        undo_rest, theta, log = super().save_point(), dict(self.theta), self._log.state()

        def undo() -> None:
            undo_rest()
            self._walks = []
            self.theta = theta
            self._log.load_state(log)
            self._digests.clear()

        return undo

    def accept(self, reply: Reply) -> None:
        """Note what the client did; its other tensors go to their mean.

        Raises:
            MessageError: if it does not hold q scalars for each step, or other tensors than it should.
            TrainingError: if one is not finite.
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
        """Theta <- the mean of what the clients became; the other tensors likewise; without a reply all stays.

        Raises:
            TrainingError: if theta is not finite any longer.
        """
        walks, self._walks = self._walks, []
        if self._seed_groups:
            walks = summed(walks, next(iter(self.theta.values())).dtype)
        done = RoundWalks(self._round_index, tuple(walks))
        theta = self._replayer.advance(self.theta, done)
        require_finite(theta)
        outcome = super().average()
        self.theta = theta
        self._log.append(done)
        return outcome

    def replace(self, tensors: Mapping[str, Tensor]) -> None:
        """Put tensors that another server has made in the place of those of the same names; no log leads to them."""
        super().replace(tensors)
        changed = {name: tensor for name, tensor in tensors.items() if name in self.theta}
        if changed:
            self.theta |= changed
            self._log.clear()
            self._digests.clear()

    def state(self) -> dict[str, dict[str, Tensor]]:
        """What the next round depends on: groups of tensors by name."""
        return super().state() | {_THETA: self.theta, _LOG: self._log.state()}

    def load_state(self, groups: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Continue from what `state` returned."""
        super().load_state(groups)
        self.theta = {name: groups[_THETA][name] for name in self.theta}  # a file forgets the order
        self._log.load_state(groups[_LOG])
        self._digests.clear()

    def _digest(self, round_index: int) -> int:
        if round_index not in self._digests:
            self._digests = {round_index: digest_of(self.theta)}
        return self._digests[round_index]

    def _scalars(self, reply: Reply) -> Tensor:
        """Its projected gradients, shape (P,), on the host."""
        who = f"client {reply.client_id} in round {reply.round_index}"
        if not isinstance(reply, ScalarReply):
            raise MessageError(
                f"{who}: expected a ScalarReply, found {type(reply).__name__}; it runs another algorithm or update"
            )
        scalars, num_probes = reply.projected_gradients, self._replayer.num_probes
        expected = (reply.num_steps * num_probes,)
        if reply.num_steps < 1 or scalars.dtype != torch.float32 or scalars.shape != expected:
            raise MessageError(
                f"{who}: expected projected gradients as float32 of shape {expected}, one for each of {num_probes} "
                f"probes of {reply.num_steps} steps, found {scalars.dtype} {tuple(scalars.shape)}"
            )
        if not 0 < reply.num_examples <= _MAX_EXAMPLES:
            raise MessageError(f"{who}: expected 1 to {_MAX_EXAMPLES} examples, found {reply.num_examples}")
        if not bool(torch.isfinite(scalars).all()):
            raise TrainingError(
                f"expected finite projected gradients, found NaN or infinity from {who}; lower client.learning_rate or "
                f"check its data"
            )
        return scalars.cpu()


def _num_bytes(message: Broadcast) -> int:
    return sum(encoded_sizes(message).values())
