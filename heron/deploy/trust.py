"""Readers of certificates and keys that report what is wrong with them. Needs `cryptography`.

Messages contain names of files and dates, never the content of a file.
"""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
    load_ssh_private_key,
    load_ssh_public_key,
)
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from heron.deploy.certificates import general_name
from heron.errors import DeployError

WARN_DAYS = 30
"""Remaining days of validity below which a certificate causes a warning."""
_MAX_BYTES = 2**16  # certificates and keys have about 1 KiB


def load_certificate(path: Path) -> x509.Certificate:
    """Read a certificate from a PEM file.

    Raises:
        DeployError: if the file contains none.
    """
    try:
        return x509.load_pem_x509_certificate(_content(path))
    except ValueError as error:
        raise _unreadable(path, "a certificate as PEM") from error


def load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read a private key from a PEM file.

    Raises:
        DeployError: if the file contains none.
    """
    return _private_key(load_pem_private_key, path, "a private key as PEM")


def load_node_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read a node's private key.

    Raises:
        DeployError: if the file contains none that `flower-supernode` accepts.
    """
    return _private_key(load_ssh_private_key, path, "a private key as `ssh-keygen -t ecdsa -b 384` makes it")


def load_node_public_key(path: Path) -> ec.EllipticCurvePublicKey:
    """Read a node's public key.

    Raises:
        DeployError: if the file contains none that `flwr supernode register` accepts.
    """
    try:
        key = load_ssh_public_key(_content(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _unreadable(path, "a public key as `ssh-keygen -t ecdsa -b 384` makes it") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise _unreadable(path, "a public key as `ssh-keygen -t ecdsa -b 384` makes it")
    return key


def check_validity(certificate: x509.Certificate, path: Path, now: dt.datetime, advice: str) -> int:
    """Number of whole days that a certificate is still valid.

    Args:
        certificate: the certificate.
        path: its file.
        now: present time, with a time zone.
        advice: what to do if its validity is over.

    Raises:
        DeployError: if its validity is over, or has not begun.
    """
    if now < certificate.not_valid_before_utc:
        raise DeployError(
            f"{path.name} is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC, but here it is "
            f"{now:%Y-%m-%d %H:%M}; set this host's clock"
        )
    if now >= certificate.not_valid_after_utc:
        raise DeployError(f"{path.name} expired on {certificate.not_valid_after_utc:%Y-%m-%d}; {advice}")
    return (certificate.not_valid_after_utc - now).days


def check_server_certificate(
    certificate: x509.Certificate, authority: x509.Certificate, host: str, now: dt.datetime
) -> None:
    """Verify a server certificate as a TLS client does.

    Raises:
        DeployError: if the authority did not sign it, or it is not for this host.
    """
    subject = general_name(host)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        names = x509.SubjectAlternativeName([])
    if subject not in names:
        found = ", ".join(str(name.value) for name in names) or "no host"
        raise DeployError(
            f"server.crt is for {found}, expected {host}; run `heron deploy renew` on the authority's host, or correct "
            f"HERON_HOST"
        )
    verifier = PolicyBuilder().store(Store([authority])).time(now).build_server_verifier(_subject(subject))
    try:
        verifier.verify(certificate, [])
    except VerificationError as error:
        raise DeployError(
            "server.crt was not signed by the authority in ca.crt; run `heron deploy renew` on the authority's host, "
            "and copy the authority's ca.crt to every party"
        ) from error


def _subject(name: x509.GeneralName) -> x509.DNSName | x509.IPAddress:
    assert isinstance(name, x509.DNSName | x509.IPAddress)  # `general_name` makes no other type
    return name


def _private_key(
    load: Callable[[bytes, bytes | None], object], path: Path, expected: str
) -> ec.EllipticCurvePrivateKey:
    try:
        key = load(_content(path), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _unreadable(path, expected) from error
    return _elliptic(key, path)


def _elliptic(key: object, path: Path) -> ec.EllipticCurvePrivateKey:
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _unreadable(path, "a key on an elliptic curve")
    return key


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES)
    except OSError as error:
        raise DeployError(f"expected {path.name}, it cannot be read ({error.strerror}); restore it") from error


def _unreadable(path: Path, expected: str) -> DeployError:
    return DeployError(f"expected {expected} in {path.name}, found something else; restore it")
