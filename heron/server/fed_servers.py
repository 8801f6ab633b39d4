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
    return FedServer(
        setup.model,
        setup.downlink_only,
        setup.weighting,
        optimizer=setup.optimizer,
        buffers=setup.buffers,
        codec=setup.codec,
        aggregation=setup.aggregation,
    )


def _check_aggregation(setup: FedServerSetup) -> None:
    aggregation = setup.aggregation
    if setup.weighting != "equal" and (aggregation.max_norm or aggregation.max_scalar):
        raise ConfigError(
            f"expected clients.weighting=equal with fed_server.max_norm or max_scalar, found {setup.weighting}: a "
            f"client could claim a higher weight; set it, or set no bound"
        )
    if not setup.replayed:
        if aggregation.max_scalar:
            raise ConfigError(
                f"expected fed_server.max_scalar=0 if replies contain no scalars, found {aggregation.max_scalar}; set "
                f"fed_server.max_norm, or update=scalars"
            )
        return
    rest = setup.model.keys() - set(setup.replayed)
    for key, is_set, tensors in (
        (f"aggregation={aggregation.method}", aggregation.method != "mean", rest),
        (f"max_norm={aggregation.max_norm}", aggregation.max_norm > 0, rest - set(setup.buffers)),
    ):
        if is_set and not tensors:
            raise ConfigError(
                f"expected tensors next to the scalars for fed_server.{key}, found none; set fed_server.max_scalar, "
                f"client.exact of at least 1, or update=dense"
            )
