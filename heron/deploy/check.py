"""Checks of a deployment before any part of it starts: every party's folder, this host, the path to the server."""

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from heron.deploy.check_bundle import check_bundle, check_examples
from heron.deploy.check_files import check_clients, check_files, check_rights, check_secret
from heron.deploy.check_host import check_app, check_data, check_programs, check_versions
from heron.deploy.check_network import check_local_port, check_server_port, check_way_to_server
from heron.deploy.findings import Finding, Level
from heron.deploy.folder import require_cryptography
from heron.deploy.party import Party, find_parties
from heron.errors import DeployError, HeronError

Check = Callable[[Party], Iterator[tuple[Level, str]]]
"""Function that yields findings, and raises HeronError for a fault that stops the deployment."""
_COMMON: tuple[Check, ...] = (check_files, check_rights)
_HOST: tuple[Check, ...] = (check_programs, check_versions)


def check_deployment(
    folder: Path, *, client: int | None = None, server: bool = False, now: dt.datetime | None = None
) -> list[Finding]:
    """Check the parties whose folders are here. Reads files and connects to the server, but changes nothing.

    Args:
        folder: a folder that `init_deployment` made, or one party's folder in it.
        client: check only this client.
        server: check only the server.
        now: time of the check; the present by default.

    Returns:
        Findings, party after party; an `error` for each fault that stops the deployment.

    Raises:
        DeployError: if the party's folder is not here, or an env file cannot be read.
        MissingExtraError: if `cryptography` is not installed.
    """
    require_cryptography()
    chosen = _chosen(find_parties(folder), folder, client, server=server)
    return [finding for party in chosen for finding in _findings(party, now or dt.datetime.now(dt.UTC))]


def _chosen(parties: list[Party], folder: Path, client: int | None, *, server: bool) -> list[Party]:
    if client is None and not server:
        return parties
    wanted = "server" if client is None else f"client-{client}"
    chosen = [party for party in parties if party.name == wanted]
    if not chosen:
        raise DeployError(
            f"expected the folder of {wanted} in {folder}, found {', '.join(party.name for party in parties)}"
        )
    return chosen


def _findings(party: Party, now: dt.datetime) -> Iterator[Finding]:
    for check in _checks_of(party, now):
        try:
            for level, text in check(party):
                yield Finding(level, party.name, text)
        except HeronError as error:
            yield Finding("error", party.name, str(error))


def _checks_of(party: Party, now: dt.datetime) -> Sequence[Check]:
    from heron.deploy.check_keys import check_authority, check_node_key, check_server_keys

    if party.is_server:

        def check_keys(party: Party) -> Iterator[tuple[Level, str]]:
            return check_server_keys(party, now)

        return (*_COMMON, check_keys, check_clients, *_HOST, check_data, check_app, check_server_port)

    def check_certificate(party: Party) -> Iterator[tuple[Level, str]]:
        return check_authority(party, now)

    data: tuple[Check, ...] = (check_bundle, check_examples) if party.is_lean else (check_data,)
    own = (check_certificate, check_node_key, check_secret)
    return (*_COMMON, *own, *_HOST, *data, check_local_port, check_way_to_server)
