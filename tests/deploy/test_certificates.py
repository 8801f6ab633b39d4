"""Certificates that a strict verifier takes, and what it does not take is found."""

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from heron.deploy.certificates import AUTHORITY_DAYS, SERVER_DAYS, general_name, make_authority, make_server_certificate
from heron.deploy.node_keys import make_node_key
from heron.deploy.trust import check_server_certificate, check_validity
from heron.errors import DeployError

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
HOSTS = ["127.0.0.1", "localhost", "fl.example.org", "10.1.2.3", "::1", "2001:db8::7", "a" * 63 + ".example"]


def authority(now=NOW):
    certificate, key = make_authority(now)
    return x509.load_pem_x509_certificate(certificate), load_pem_private_key(key, None)


def server(signer, host, now=NOW):
    return x509.load_pem_x509_certificate(make_server_certificate(*signer, host, now)[0])


def verify(certificate, root, host, now=NOW):
    PolicyBuilder().store(Store([root])).time(now).build_server_verifier(general_name(host)).verify(certificate, [])


@pytest.mark.parametrize("host", HOSTS)
def test_a_strict_verifier_takes_them_for_the_host_and_for_this_machine(host) -> None:
    signer = authority()
    certificate = server(signer, host)
    for name in (host, "localhost", "127.0.0.1", "::1"):
        verify(certificate, signer[0], name)
        check_server_certificate(certificate, signer[0], name, NOW)
    with pytest.raises(VerificationError):
        verify(certificate, signer[0], "elsewhere.example")


def test_lifetimes() -> None:
    signer = authority()
    certificate = server(signer, "localhost")
    for each, days in ((signer[0], AUTHORITY_DAYS), (certificate, SERVER_DAYS)):
        assert each.not_valid_after_utc - each.not_valid_before_utc == dt.timedelta(days=days)
        assert dt.timedelta(0) < NOW - each.not_valid_before_utc < dt.timedelta(days=1)
    assert SERVER_DAYS <= 825
    # A certificate that outlives its authority would promise more than holds.
    late = NOW + dt.timedelta(days=AUTHORITY_DAYS - 10)
    assert server(signer, "localhost", late).not_valid_after_utc == signer[0].not_valid_after_utc


def test_the_authority_signs_servers_and_no_further_authorities_and_a_server_nothing() -> None:
    signer = authority()
    certificate = server(signer, "localhost")
    constraints = [each.extensions.get_extension_for_class(x509.BasicConstraints) for each in (signer[0], certificate)]
    assert [(each.value.ca, each.value.path_length, each.critical) for each in constraints] == [
        (True, 0, True),
        (False, None, True),
    ]
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_cert_sign


def test_a_wrong_host_a_stranger_and_the_wrong_time_are_found() -> None:
    signer = authority()
    certificate = server(signer, "fl.example.org")
    with pytest.raises(DeployError, match=r"is for fl\.example\.org, localhost, .*expected other\.example"):
        check_server_certificate(certificate, signer[0], "other.example", NOW)
    with pytest.raises(DeployError, match="not signed by the authority"):
        check_server_certificate(certificate, authority()[0], "fl.example.org", NOW)


def test_the_time_is_checked_to_the_second(tmp_path) -> None:
    certificate = server(authority(), "localhost")
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    second = dt.timedelta(seconds=1)
    path = tmp_path / "server.crt"
    assert check_validity(certificate, path, first, "") == SERVER_DAYS
    assert check_validity(certificate, path, last - second, "") == 0
    with pytest.raises(DeployError, match="clock"):
        check_validity(certificate, path, first - second, "")
    with pytest.raises(DeployError, match=r"server\.crt expired on .*; renew it"):
        check_validity(certificate, path, last, "renew it")


def test_node_keys_are_what_flower_reads() -> None:
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key

    private, public = make_node_key()
    key = load_ssh_private_key(private, None)
    assert key.curve.name == "secp384r1"
    assert load_ssh_public_key(public) == key.public_key()
    assert private != make_node_key()[0]
