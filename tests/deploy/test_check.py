"""The check passes what works, and finds every kind of damage in one line that says what to do."""

import datetime as dt
import re
import socket
import ssl
import sys
import threading
import tomllib
from pathlib import Path

import pytest

import heron.deploy.check_host
from heron.cli.main import main
from heron.deploy import DeploymentPlan, check_deployment, init_deployment, renew_certificate
from heron.deploy.findings import Finding
from heron.deploy.party import read_settings
from heron.deploy.versions import FLOWER
from heron.errors import DeployError


def of(level, findings):
    return [finding for finding in findings if finding.level == level]


def change(path, pattern, replacement):
    text = path.read_text()
    assert re.search(pattern, text, re.MULTILINE)
    path.write_text(re.sub(pattern, replacement, text, flags=re.MULTILINE))


def test_a_fresh_deployment_works(made) -> None:
    findings = check_deployment(made)
    assert of("error", findings) == []
    warnings = of("warning", findings)
    assert [finding.party for finding in warnings] == ["client-0", "client-1"]
    assert all("does not answer" in finding.text for finding in warnings)
    assert {finding.party for finding in findings} == {"server", "client-0", "client-1"}


def test_one_party_alone_here_and_in_a_folder_that_was_copied(folder, tmp_path) -> None:
    copied = (folder / "client-1").rename(tmp_path / "elsewhere")
    assert {each.party for each in check_deployment(folder, server=True)} == {"server"}
    assert {each.party for each in check_deployment(folder, client=0)} == {"client-0"}
    for options in ({}, {"client": 1}):
        findings = check_deployment(copied, **options)
        assert {each.party for each in findings} == {"client-1"}
        assert of("error", findings) == []
    for where, options in ((folder, {"client": 1}), (copied, {"server": True}), (copied, {"client": 0})):
        with pytest.raises(DeployError, match="expected the folder of"):
            check_deployment(where, **options)
    with pytest.raises(DeployError, match=r"no server\.env"):
        check_deployment(tmp_path)


def swap(folder, first, second):
    (folder / second).write_bytes((folder / first).read_bytes())


def other_authority(folder):
    """The server's pair, signed by a stranger."""
    stranger = folder.parent / "stranger"
    init_deployment(stranger, DeploymentPlan(1))
    for name in ("server.crt", "server.key"):
        swap(folder, stranger / "server" / name, f"server/{name}")


DAMAGE = {
    "file absent": (lambda d: (d / "server" / "server.crt").unlink(), "server", r"expected server\.crt in"),
    "script absent": (lambda d: (d / "client-0" / "client-0.sh").unlink(), "client-0", r"expected client-0\.sh in"),
    "script inert": (lambda d: (d / "server" / "train.sh").chmod(0o644), "server", r"chmod \+x train\.sh"),
    "open key": (lambda d: (d / "client-0" / "node.key").chmod(0o640), "client-0", "mode 0640.*chmod 600"),
    "open server key": (lambda d: (d / "server" / "server.key").chmod(0o604), "server", "mode 0604.*chmod 600"),
    "ca key": (lambda d: swap(d, "authority/ca.key", "client-0/old.pem"), "client-0", r"old\.pem: a private key"),
    "node's key": (lambda d: swap(d, "client-1/node.key", "server/x"), "server", "x: a private key"),
    "ca garbage": (lambda d: (d / "client-0" / "ca.crt").write_text("x"), "client-0", "a certificate as PEM in ca.crt"),
    "crt garbage": (lambda d: (d / "server" / "server.crt").write_bytes(b"\0\xff"), "server", "PEM in server.crt"),
    "key garbage": (lambda d: (d / "server" / "server.key").write_text("x"), "server", "PEM in server.key"),
    "node garbage": (lambda d: (d / "client-0" / "node.key").write_text("x"), "client-0", "ssh-keygen.*node.key"),
    "pub garbage": (lambda d: (d / "client-0" / "node.key.pub").write_text("x"), "client-0", r"node\.key\.pub"),
    "stranger": (other_authority, "server", "not signed by the authority"),
    "server pair": (lambda d: swap(d, "authority/ca.key", "server/server.key"), "server", "not the key of server.crt"),
    "node pair": (lambda d: swap(d, "client-1/node.key", "client-0/node.key"), "client-0", "not the public key"),
    "other node": (
        lambda d: [swap(d, f"client-1/{name}", f"client-0/{name}") for name in ("node.key", "node.key.pub")],
        "client-0",
        r"differs from the server's nodes/client-0\.pub",
    ),
    "node unknown": (lambda d: (d / "server" / "nodes" / "client-1.pub").unlink(), "server", "each of 2 clients"),
    "node twice": (lambda d: swap(d, "server/nodes/client-0.pub", "server/nodes/client-1.pub"), "server", "one twice"),
    "host": (
        lambda d: change(d / "server" / "server.env", '^HERON_HOST=".*"', 'HERON_HOST="fl.example.org"'),
        "server",
        r"is for 127\.0\.0\.1, localhost, ::1, expected fl\.example\.org",
    ),
    "port": (
        lambda d: change(d / "client-0" / "client.env", '^HERON_PORT="[0-9]+"', 'HERON_PORT="70000"'),
        "client-0",
        "HERON_PORT up to 65535",
    ),
    "no port": (
        lambda d: change(d / "client-0" / "client.env", "^HERON_LOCAL_PORT.*$", ""),
        "client-0",
        "HERON_LOCAL_PORT=.*found none",
    ),
    "app": (
        lambda d: change(d / "server" / "server.env", '^HERON_APP=".*"', 'HERON_APP="$HERE"'),
        "server",
        "a clone of the heron repository",
    ),
    "recipe": (
        lambda d: change(d / "client-0" / "client.env", '^HERON_RECIPE=".*"', 'HERON_RECIPE="digit"'),
        "client-0",
        "did you mean 'digits'",
    ),
    "data": (
        lambda d: change(d / "client-0" / "client.env", '^HERON_RECIPE=".*"', 'HERON_RECIPE="e2e-gpt2-mini"'),
        "client-0",
        r"expected e2e/train\.csv, e2e/dev\.csv, e2e/test\.csv in HERON_DATA \(.*client-0/data\)",
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_found(kind, folder, capsys) -> None:
    damage, party, expected = DAMAGE[kind]
    damage(folder)
    errors = of("error", check_deployment(folder))
    assert any(each.party == party and re.search(expected, each.text) for each in errors), errors
    # A key that is there twice is also not the one that its client has.
    assert {each.party for each in errors} == {party, *(["client-1"] if kind == "node twice" else [])}
    assert main(["deploy", "check", str(folder)]) == 2
    output = capsys.readouterr()
    assert "\nerror   " in f"\n{output.out}"
    assert re.fullmatch(r"heron: \d+ of \d+ findings are errors; nothing was started\n", output.err)
    for path in folder.rglob("*.key"):  # no line of a secret is shown
        assert not any(line in output.out for line in path.read_text().splitlines()[1:-1] if len(line) > 8)


def test_certificates_that_ran_out_or_soon_will(folder) -> None:
    now = dt.datetime.now(dt.UTC)

    def told(days):
        findings = check_deployment(folder, now=now + dt.timedelta(days=days))
        return [each for each in findings if ".crt" in each.text and "files" not in each.text]

    assert of("error", told(824)) == []
    assert {each.party for each in of("warning", told(800))} == {"server"}
    assert of("warning", told(790)) == []
    assert [each.party for each in of("error", told(826))] == ["server"]
    assert {each.party for each in of("warning", told(3640))} == {"server", "client-0", "client-1"}
    assert [each.party for each in of("error", told(3651))] == ["server", "client-0", "client-1"]
    assert all("clock" in each.text for each in of("error", told(-1)))
    renew_certificate(folder, now + dt.timedelta(days=800))
    assert of("warning", told(820)) == []


@pytest.mark.parametrize(("library", "level"), [("flwr", "error"), ("torch", "warning"), ("heron-sfl", "warning")])
def test_other_versions(library, level, made, monkeypatch) -> None:
    versions = {"heron-sfl": "0.1.0", "flwr": "1.41.0", "torch": "2.13.0"}
    monkeypatch.setattr(heron.deploy.check_host, "installed_versions", lambda _: versions | {library: "9.9"})
    found = [each for each in check_deployment(made) if "9.9" in each.text and each.level != "ok"]
    assert {(each.party, each.level) for each in found} == {
        (name, level) for name in ("server", "client-0", "client-1")
    }


def test_the_pin_is_that_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert f"flwr=={FLOWER}" in extras["flower"]
    assert f"flwr[simulation]=={FLOWER}" in extras["simulation"]


def test_no_flower_here(made, monkeypatch) -> None:
    monkeypatch.setattr(heron.deploy.check_host, "installed_versions", lambda _: {})
    monkeypatch.setattr(heron.deploy.check_host.shutil, "which", lambda name, path: None)
    bin_folder = read_settings(made / "server" / "server.env")["HERON_BIN"]
    assert [each.text.split(";")[0] for each in of("error", check_deployment(made, server=True))] == [
        f"expected flower-superlink, flwr, flwr-serverapp in HERON_BIN ({bin_folder}) or on PATH, found none",
        "flwr is not installed in this environment",
    ]


def test_no_pytorch_here(made, monkeypatch) -> None:
    """The base of the package brings none."""
    monkeypatch.setattr(heron.deploy.check_host, "installed_versions", lambda _: {"heron-sfl": "0.1.0", "flwr": FLOWER})
    hint = "torch is not installed in this environment; pip install 'heron-sfl[flower]'"
    assert [each.text for each in of("error", check_deployment(made, client=0))] == [hint]


def test_data_of_other_recipes(tmp_path) -> None:
    init_deployment(tmp_path / "a", DeploymentPlan(1, recipe="cifar10-resnet18-small"))
    assert "cifar10/train.parquet" in (tmp_path / "a" / "client-0" / "data" / "README.md").read_text()
    found = [each for each in check_deployment(tmp_path / "a", client=0) if "hub" in each.text]
    assert [(each.level, "no cifar10/train.parquet and no" in each.text) for each in found] == [("warning", True)]
    folder = tmp_path / "a" / "client-0" / "data" / "cifar10"
    folder.mkdir()
    for name in ("train", "test"):
        (folder / f"{name}.parquet").touch()
    assert not [each for each in check_deployment(tmp_path / "a", client=0) if "hub" in each.text]


def test_a_port_in_use(made) -> None:
    port = int(read_settings(made / "server" / "server.env")["HERON_PORT"])
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        (error,) = of("error", check_deployment(made, server=True))
    assert f"cannot listen at 127.0.0.1 port {port}" in error.text


def answer(port, context, address="127.0.0.1"):
    """One connection as a server would take it."""
    listener = socket.create_server((address, port))

    def serve():
        with listener, listener.accept()[0] as connection:
            connection.settimeout(5)
            try:
                if context is None:
                    connection.recv(1)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                else:
                    context.wrap_socket(connection, server_side=True).close()
            except OSError:
                pass

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def tls(folder):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server" / "server.crt", folder / "server" / "server.key")
    return context


@pytest.mark.parametrize(
    ("kind", "level", "expected"),
    [
        ("server", "ok", "answers with a certificate of the authority"),
        ("stranger", "error", "does not match ca.crt"),
        ("plain", "error", "answers, but not with TLS"),
    ],
)
def test_the_server_that_answers_must_be_the_right_one(kind, level, expected, folder, tmp_path) -> None:
    port = int(read_settings(folder / "client-0" / "client.env")["HERON_PORT"])
    init_deployment(tmp_path / "stranger", DeploymentPlan(1))
    contexts = {"server": tls(folder), "stranger": tls(tmp_path / "stranger"), "plain": None}
    thread = answer(port, contexts[kind])
    findings = check_deployment(folder, client=0)
    thread.join(10)
    (found,) = (each for each in findings if f"port {port}" in each.text)
    assert (found.level, expected in found.text) == (level, True), found


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8 on loopback")
def test_a_server_of_the_same_authority_under_another_name(folder) -> None:
    settings = folder / "client-0" / "client.env"
    change(settings, '^HERON_HOST=".*"', 'HERON_HOST="127.0.0.2"')
    thread = answer(int(read_settings(settings)["HERON_PORT"]), tls(folder), "127.0.0.2")
    (error,) = of("error", check_deployment(folder, client=0))
    thread.join(10)
    assert re.search(r"does not match ca\.crt.*127\.0\.0\.2", error.text)


@pytest.mark.parametrize("line", ["HERON_PORT=1", ' HERON_PORT="1"', 'HERON_PORT="`id`"', "export A", 'A="1" B="2"'])
def test_an_env_file_that_the_check_cannot_read_is_refused(line, folder) -> None:
    path = folder / "client-0" / "client.env"
    path.write_text(f"{path.read_text()}{line}\n")
    with pytest.raises(DeployError, match=r'expected NAME="value".*found line'):
        check_deployment(folder)


def test_a_finding_is_one_line() -> None:
    assert str(Finding("error", "client-1", "a\n  b")) == "error   client-1: a b"


def test_the_command_line(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["deploy", "init", "mine", "--clients", "1", "--host", "fl.example.org", "--port", "19000"]) == 0
    assert main(["deploy", "renew", "mine"]) == 0
    assert main(["deploy", "add-client", "mine"]) == 0
    assert {path.name for path in (tmp_path / "mine").glob("client-*")} == {"client-0", "client-1"}
    capsys.readouterr()
    for words in (
        ["init", "mine", "--clients", "1"],
        ["init", "other", "--clients", "0"],
        ["init", "other", "--clients", "x"],
        ["init", "other"],
        ["init", "other", "--clients", "1", "--port", "65535"],
        ["init", "other", "--clients", "1", "--host", "not a host"],
        ["init", "other", "--clients", "1", "--recipe", "none"],
        ["check", "other"],
        ["check", "mine", "--client", "7"],
        ["check", "mine", "--client", "0", "--server"],
        ["renew", "other"],
        ["add-client", "other"],
        [],
    ):
        assert main(["deploy", *words]) == 2, words
        output = capsys.readouterr()
        assert (len(output.err.splitlines()), output.out) == (1, ""), words
        assert output.err.startswith("heron: ")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
