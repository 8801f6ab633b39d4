"""A Fed Server of clients whose order boundaries differ: each coordinate is the mean of those who trained it.

A client sends scalars for what it learned from probes below its boundary, where scalars travel, and tensors for the
rest. The server makes tensors of the scalars at once, by replaying the client's steps from the model that it broadcast;
they are the client's own, bit for bit. With C_j the clients of the round that trained coordinate j, in either order,

    x_j <- sum over i in C_j of w_i x_ij / sum over i in C_j of w_i,    x_j stays as it is where C_j is empty

Every broadcast is a snapshot: scalars of a client with another boundary do not tell what a client's own theta becomes.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from heron.errors import ConfigError, MessageError
from heron.server.fed_server import FedServer
from heron.server.scalar_server import checked_scalars
from heron.wire import ModelBroadcast, Reply, ScalarReply
from heron.wire.fleet import Exact, Fleet, Member
from heron.wire.terms import Terms
from heron.wire.update_codec import UpdateCodec
from heron.wire.walks import Replayer, RoundWalks, Walk


class FleetServer(FedServer):
    """Fed Server of a fleet.

    Args:
        terms: of the servers: names and roles of all tensors that travel, and the settings of the mean.
        tensors: their initial values by name; copied.
        fleet: boundaries and terms of the clients.

    Raises:
        ConfigError: if the mean is a robust one, replies are bounded, or clients share directions.
    """

    def __init__(self, terms: Terms, tensors: Mapping[str, Tensor], fleet: Fleet) -> None:
        _check_averaging(terms)
        super().__init__(terms, tensors)
        self._fleet = fleet
        self._lanes = {exact: _Lane(member) for exact, member in fleet.members.items()}

    def snapshot(self, round_index: int, client_id: int) -> ModelBroadcast:
        """Everything that the client needs, in the form that its terms declare."""
        model, codec = self.global_model(), self._lane(client_id).codec
        return ModelBroadcast(round_index, client_id, model if codec is None else codec.pack_model(model))

    def _checked(self, reply: Reply) -> dict[str, Tensor]:
        """Check a reply and make tensors of all that it stands for."""
        lane = self._lane(reply.client_id)
        walked = lane.walked(reply, self.model)
        return walked | self._unpacked(reply, {name: self.model[name] for name in lane.sent_back}, lane.codec)

    def _lane(self, client_id: int) -> "_Lane":
        exact: Exact = self._fleet.exact_of(client_id)
        return self._lanes[exact]


class _Lane:
    """Codec and replay of the clients with one boundary."""

    def __init__(self, member: Member) -> None:
        self.codec = UpdateCodec.of(member.terms)
        self.sent_back = member.terms.sent_back
        self._theta = member.terms.replayed
        self._replayer = Replayer(member.learning) if self._theta else None

    def walked(self, reply: Reply, model: Mapping[str, Tensor]) -> dict[str, Any]:
        """Rebuild what the client learned from probes; nothing where it sends that as tensors.

        Args:
            reply: of the client.
            model: what was broadcast, by name; not changed.
        """
        if self._replayer is None:
            if isinstance(reply, ScalarReply):
                raise MessageError(
                    f"client {reply.client_id} in round {reply.round_index + 1}: expected a ClientReply, found "
                    f"scalars; it has another boundary than its terms"
                )
            return {}
        num_probes = self._replayer.num_probes
        scalars_P = checked_scalars(reply, reply.num_steps * num_probes, num_probes)
        walk = Walk(reply.client_id, 1, scalars_P)
        theta = {name: model[name] for name in self._theta}
        return self._replayer.advance(theta, RoundWalks(reply.round_index, (walk,)))


def _check_averaging(terms: Terms) -> None:
    """Refuse what looks at the replies of a round as if all were alike."""
    settings = terms.settings
    averaging = settings.fed_server
    expected = (
        ("fed_server.aggregation=mean", averaging.aggregation, averaging.aggregation == "mean"),
        ("fed_server.max_norm=0", averaging.max_norm, not averaging.max_norm),
        ("fed_server.max_scalar=0", averaging.max_scalar, not averaging.max_scalar),
        ("seed_groups=0", settings.seed_groups, not settings.seed_groups),
    )
    for wanted, found, holds in expected:
        if not holds:
            raise ConfigError(
                f"expected {wanted} with client.exact=device, found {found}: clients with other boundaries send other "
                f"tensors; set it, or one client.exact for all"
            )
