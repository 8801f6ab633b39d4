"""Choice of the Fed Server of a run."""

from heron.errors import ConfigError
from heron.server.fed_server import FedServer
from heron.server.scalar_server import ScalarFedServer
from heron.server.setup import FedServerSetup


def make_fed_server(setup: FedServerSetup) -> FedServer:
    """Make the Fed Server of a run: one that replays scalars if replies contain any.

    Raises:
        ConfigError: if a robust mean or a bound is set that applies to nothing that travels.
    """
    _check_aggregation(setup)
    if setup.replayed:
        return ScalarFedServer(setup)
    return FedServer(setup)


def _check_aggregation(setup: FedServerSetup) -> None:
    averaging = setup.averaging
    if setup.weighting != "equal" and (averaging.max_norm or averaging.max_scalar):
        raise ConfigError(
            f"expected clients.weighting=equal with fed_server.max_norm or max_scalar, found {setup.weighting}: a "
            f"client could claim a higher weight; set it, or set no bound"
        )
    if not setup.replayed:
        if averaging.max_scalar:
            raise ConfigError(
                f"expected fed_server.max_scalar=0 where replies hold no scalars, found {averaging.max_scalar}; set "
                f"fed_server.max_norm, or update=scalars"
            )
        return
    rest = setup.model.keys() - set(setup.replayed)
    for key, is_set, tensors in (
        (f"aggregation={averaging.aggregation}", averaging.aggregation != "mean", rest),
        (f"max_norm={averaging.max_norm}", averaging.max_norm > 0, rest - set(setup.buffers)),
    ):
        if is_set and not tensors:
            raise ConfigError(
                f"expected tensors next to the scalars for fed_server.{key}, found none; set fed_server.max_scalar, "
                f"client.exact of at least 1, or update=dense"
            )
