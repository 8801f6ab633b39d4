"""Checks of the network: free ports for a party's listeners, and an answer from the server."""

import socket
import ssl
from collections.abc import Iterator

from heron.deploy.findings import Level
from heron.deploy.party import Party
from heron.errors import DeployError

_TIMEOUT_S = 3.0


def check_server_port(party: Party) -> Iterator[tuple[Level, str]]:
    """Check that the SuperLink can listen."""
    address, port = party.setting("HERON_LISTEN"), party.port("HERON_PORT")
    _bind(address, port, "HERON_PORT")
    yield "ok", f"port {port} is free at {address}"


def check_local_port(party: Party) -> Iterator[tuple[Level, str]]:
    """Check that the SuperNode can listen to its own processes."""
    port = party.port("HERON_LOCAL_PORT")
    _bind("127.0.0.1", port, "HERON_LOCAL_PORT")
    yield "ok", f"port {port} is free on loopback"


def check_way_to_server(party: Party) -> Iterator[tuple[Level, str]]:
    """Check that the server, if it runs, answers with a certificate of the authority."""
    host, port = party.setting("HERON_HOST"), party.port("HERON_PORT")
    try:
        connection = socket.create_connection((host, port), _TIMEOUT_S)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        yield "warning", f"{host} port {port} does not answer ({reason}): start the server, open its firewall"
        return
    try:
        context = ssl.create_default_context(cafile=party.folder / "ca.crt")
        with connection, context.wrap_socket(connection, server_hostname=host):
            yield "ok", f"{host} port {port} answers with a certificate of the authority"
    except ssl.SSLCertVerificationError as error:
        raise DeployError(
            f"{host} port {port} shows a certificate that does not match ca.crt ({error.verify_message}); is it "
            f"the right server, and ca.crt its authority's?"
        ) from error
    except OSError as error:
        raise DeployError(
            f"{host} port {port} answers, but not with TLS ({error.strerror or type(error).__name__}); is it the "
            f"right port?"
        ) from error


def _bind(address: str, port: int, name: str) -> None:
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: closed connections linger
            probe.bind((address, port))
    except OSError as error:
        raise DeployError(
            f"cannot listen at {address} port {port} ({error.strerror}); if it is not running already, correct {name}"
        ) from error
