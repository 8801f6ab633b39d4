"""Choice of the Fed Server of a run."""

from collections.abc import Mapping

from torch import Tensor

from heron.errors import ConfigError
from heron.server.candidate_server import CandidateFedServer
from heron.server.fed_server import FedServer
from heron.server.fleet_server import FleetServer
from heron.server.masked_server import MaskedFedServer
from heron.server.scalar_server import ScalarFedServer
from heron.wire.fleet import Fleet
from heron.wire.learning import Learning
from heron.wire.terms import Terms


def make_fed_server(
    terms: Terms, tensors: Mapping[str, Tensor], learning: Learning, fleet: Fleet | None = None
) -> FedServer:
    """Make the Fed Server of a run: one that replays scalars if replies contain any.

    Args:
        terms: of the run.
        tensors: initial values of the tensors that travel, by name; copied.
        learning: settings of the clients' learning, for a server that replays their steps.
        fleet: clients whose boundaries differ; None where all have one.

    Raises:
        ConfigError: if a robust mean or a bound is set that applies to nothing that travels.
    """
    if fleet is not None:
        return FleetServer(terms, tensors, fleet)
    _check_aggregation(terms)
    if not terms.replayed:
        return FedServer(terms, tensors)
    if terms.settings.secure_sum:
        return MaskedFedServer(terms, tensors, learning)
    kind = CandidateFedServer if learning.candidates else ScalarFedServer
    return kind(terms, tensors, learning)


def _check_aggregation(terms: Terms) -> None:
    averaging, weighting = terms.settings.fed_server, terms.settings.clients.weighting
    if weighting != "equal" and (averaging.max_norm or averaging.max_scalar):
        raise ConfigError(
            f"expected clients.weighting=equal with fed_server.max_norm or max_scalar, found {weighting}: a "
            f"client could claim a higher weight; set it, or set no bound"
        )
    if not terms.replayed:
        if averaging.max_scalar:
            raise ConfigError(
                f"expected fed_server.max_scalar=0 where replies hold no scalars, found {averaging.max_scalar}; set "
                f"fed_server.max_norm, or update=scalars"
            )
        return
    for key, is_set, names in (
        (f"aggregation={averaging.aggregation}", averaging.aggregation != "mean", terms.sent_back),
        (f"max_norm={averaging.max_norm}", averaging.max_norm > 0, terms.names("trained")),
    ):
        if is_set and not names:
            raise ConfigError(
                f"expected tensors next to the scalars for fed_server.{key}, found none; set fed_server.max_scalar, "
                f"client.exact of at least 1, or update=dense"
            )
