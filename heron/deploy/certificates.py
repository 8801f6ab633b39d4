"""TLS certificates of a deployment: a private authority, and the server's certificate. Needs `cryptography`.

Profiles follow RFC 5280, so that a strict verifier (`cryptography.x509.verification`) accepts them.
"""

import datetime as dt

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from heron.deploy.plan import address_of

AUTHORITY_DAYS = 3650
"""Longer than a deployment lasts, because a new authority means a new file on every client."""
SERVER_DAYS = 825
"""The longest validity that all TLS libraries accept, even from private authorities."""
_BACKDATED = dt.timedelta(hours=1)  # clocks of clients may be behind
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def make_authority(now: dt.datetime) -> tuple[bytes, bytes]:
    """Make a certificate authority for one deployment.

    Args:
        now: present time, with a time zone; the validity begins an hour earlier and lasts for `AUTHORITY_DAYS`.

    Returns:
        Certificate and private key (PKCS 8, ECDSA P-384), both PEM.
    """
    key = ec.generate_private_key(ec.SECP384R1())
    subject = _name("heron deployment authority")
    builder = (
        _builder(subject, key.public_key(), now, AUTHORITY_DAYS)
        .issuer_name(subject)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage("key_cert_sign", "crl_sign"), critical=True)
    )
    return _pem(builder.sign(key, hashes.SHA384())), private_pem(key)


def make_server_certificate(
    authority: x509.Certificate, authority_key: ec.EllipticCurvePrivateKey, host: str, now: dt.datetime
) -> tuple[bytes, bytes]:
    """Make a server certificate for a host, `localhost` and the loopback addresses.

    Args:
        authority: certificate of the authority that signs it.
        authority_key: private key of the authority.
        host: name or address.
        now: present time, with a time zone; the validity begins an hour earlier, lasts for `SERVER_DAYS`, and does not
            exceed the authority's.

    Returns:
        Certificate and private key (PKCS 8, ECDSA P-384), both PEM.
    """
    key = ec.generate_private_key(ec.SECP384R1())
    issuer_key_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    builder = (
        _builder(_name(host), key.public_key(), now, SERVER_DAYS, authority.not_valid_after_utc)
        .issuer_name(authority.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage("digital_signature"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(issuer_key_id, critical=False)
        .add_extension(_names_of(host), critical=False)
    )
    return _pem(builder.sign(authority_key, hashes.SHA384())), private_pem(key)


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Encode a private key as PKCS 8, not encrypted, so that processes start without a person."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def general_name(host: str) -> x509.GeneralName:
    """Form of a host's name or address in certificates."""
    address = address_of(host)
    return x509.DNSName(host) if address is None else x509.IPAddress(address)


def _builder(
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: dt.datetime,
    days: int,
    latest: dt.datetime | None = None,
) -> x509.CertificateBuilder:
    begin = now - _BACKDATED
    end = begin + dt.timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end if latest is None else min(end, latest))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _names_of(host: str) -> x509.SubjectAlternativeName:
    hosts = dict.fromkeys([host, "localhost", "127.0.0.1", "::1"])  # once each, in this order
    return x509.SubjectAlternativeName([general_name(each) for each in hosts])


def _key_usage(*usages: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in usages for usage in _USAGES})


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])  # the longest that RFC 5280 allows


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)
