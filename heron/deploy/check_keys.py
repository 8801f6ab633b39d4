"""Checks of certificates and keys: validity, host, signature, and matching pairs. Needs `cryptography`."""

import datetime as dt
from collections.abc import Iterator

from heron.deploy.findings import Level
from heron.deploy.party import Party
from heron.deploy.trust import (
    WARN_DAYS,
    check_server_certificate,
    check_validity,
    load_certificate,
    load_key,
    load_node_key,
    load_node_public_key,
)
from heron.errors import DeployError

_NEW_AUTHORITY = "make a new deployment with `heron deploy init`"
_RENEW = "run `heron deploy renew` on the authority's host"


def check_authority(party: Party, now: dt.datetime) -> Iterator[tuple[Level, str]]:
    """Check that the authority's certificate is valid now."""
    path = party.folder / "ca.crt"
    days = check_validity(load_certificate(path), path, now, _NEW_AUTHORITY)
    yield _told(path.name, days, _NEW_AUTHORITY)


def check_server_keys(party: Party, now: dt.datetime) -> Iterator[tuple[Level, str]]:
    """Check the server's certificate: valid now, for its host, signed by the authority, and matching its key."""
    yield from check_authority(party, now)
    path = party.folder / "server.crt"
    certificate = load_certificate(path)
    days = check_validity(certificate, path, now, _RENEW)
    host = party.setting("HERON_HOST")
    check_server_certificate(certificate, load_certificate(party.folder / "ca.crt"), host, now)
    if load_key(party.folder / "server.key").public_key() != certificate.public_key():
        raise DeployError(f"server.key is not the key of server.crt; {_RENEW}")
    yield _told(f"server.crt for {host}", days, _RENEW)


def check_node_key(party: Party) -> Iterator[tuple[Level, str]]:
    """Check that a client's two keys match, and that the server, if its folder is next to it, has the same."""
    public = load_node_public_key(party.folder / "node.key.pub")
    if load_node_key(party.folder / "node.key").public_key() != public:
        raise DeployError("node.key.pub is not the public key of node.key; copy the whole folder again")
    registered = party.folder.parent / "server" / "nodes" / f"{party.name}.pub"
    if registered.exists() and load_node_public_key(registered) != public:
        raise DeployError(f"node.key.pub differs from the server's nodes/{party.name}.pub; copy it there")
    yield "ok", "node.key and node.key.pub match"


def _told(name: str, days: int, advice: str) -> tuple[Level, str]:
    if days < WARN_DAYS:
        return "warning", f"{name} is valid for only {days} more days; {advice}"
    return "ok", f"{name} is valid for {days} days"
