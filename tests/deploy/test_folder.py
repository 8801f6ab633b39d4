"""Folders are complete, contain no other party's secrets, and are made completely or not at all."""

import os
import re
import subprocess
import sys
from importlib.resources import files

import pytest

import heron.deploy.folder
from heron.deploy import DeploymentPlan, add_client, check_deployment, init_deployment, renew_certificate
from heron.deploy.party import find_parties
from heron.errors import ConfigError, DeployError, MissingExtraError

SECRET = b"PRIVATE KEY-----"
# What each folder may hold; the keys are those that may be secret.
SERVER = {
    *("server.env", "server.sh", "flwr.sh", "register.sh", "train.sh", "ca.crt", "server.crt", "server.key"),
    *("nodes/client-0.pub", "nodes/client-1.pub", "data/README.md"),
}

PROCESS = {"bin/flwr-clientapp", "bin/flwr-clientapp.py"}


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_folder_holds_what_its_party_needs_and_no_other_secret(made) -> None:
    expected = {
        "authority": ({"ca.crt", "ca.key"}, "ca.key"),
        "server": (SERVER, "server.key"),
        **{
            f"client-{number}": (
                {"client.env", f"client-{number}.sh", "ca.crt", "node.key", "node.key.pub", "data/README.md"} | PROCESS,
                "node.key",
            )
            for number in (0, 1)
        },
    }
    assert {path.name for path in made.iterdir()} == {*expected, "README.md", ".gitignore"}
    secrets = []
    for name, (names, secret) in expected.items():
        found = contents(made / name)
        assert found.keys() == names
        assert [file for file in found if SECRET in found[file]] == [secret]
        secrets.append(found[secret])
    assert len(set(secrets)) == len(secrets)
    everything = b"".join(contents(made).values())
    assert all(everything.count(secret.splitlines()[-3]) == 1 for secret in secrets)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_keys_are_their_owners_alone_whatever_the_umask(umask, tmp_path) -> None:
    before = os.umask(umask)
    try:
        init_deployment(tmp_path / "a", DeploymentPlan(1))
        renew_certificate(tmp_path / "a")
        add_client(tmp_path / "a")
    finally:
        os.umask(before)
    for path in (tmp_path / "a").rglob("*"):
        mode = path.stat().st_mode & 0o777
        if path.is_dir():
            assert mode == 0o700 & ~umask, path
        elif path.suffix == ".key":
            assert mode == 0o600, path
        else:
            assert mode == (0o755 if path.suffix == ".sh" or path.name == "flwr-clientapp" else 0o644), path


def test_a_client_folder_names_no_other_and_no_path_of_the_servers(made) -> None:
    text = (made / "client-1" / "client.env").read_text()
    assert 'HERON_CLIENT="1"' in text
    assert str(made) not in text
    assert "client-0" not in text


def test_scripts_are_valid_shell_and_env_files_are_what_the_shell_reads(made) -> None:
    scripts = sorted(made.rglob("*.sh"))
    assert len(scripts) == 6
    for path in scripts:
        subprocess.run(["sh", "-n", path], check=True)
    for party in find_parties(made):
        (env,) = party.folder.glob("*.env")
        names = sorted(party.settings.keys() - {"PATH", "HERE"})
        show = "".join(f' "${name}"' for name in names)
        code = f"HERE={party.folder}; . {env}; printf '%s\\n' {show}"
        done = subprocess.run(
            ["/bin/sh", "-eu", "-c", code], check=True, capture_output=True, text=True, env={"PATH": "/x"}
        )
        assert done.stdout.splitlines() == [party.settings[name] for name in names]


def test_scripts_are_package_data() -> None:
    folder = files("heron.deploy") / "templates"
    assert {"server.sh", "client.sh", "flwr.sh", "register.sh", "train.sh", "flwr-clientapp.sh"} <= {
        each.name for each in folder.iterdir()
    }


def run_train(made, tmp_path, *words):
    """The command that train.sh would run: a replacement of flwr prints its words."""
    (tmp_path / "bin").mkdir(exist_ok=True)
    stand_in = tmp_path / "bin" / "flwr"
    stand_in.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    stand_in.chmod(0o755)
    env = made / "server" / "server.env"
    env.write_text(re.sub('HERON_BIN=".*?"', f'HERON_BIN="{tmp_path / "bin"}"', env.read_text()))
    return subprocess.run(
        ["sh", made / "server" / "train.sh", *words], capture_output=True, text=True, check=False, cwd=tmp_path
    )


def test_train_runs_what_heron_train_would(folder, tmp_path) -> None:
    from flwr.common.config import parse_config_args

    done = run_train(folder, tmp_path, "digits-published", "rounds=3", "client.local_steps=2")
    words = done.stdout.splitlines()
    assert words[0] == "run"
    assert words[2:5] == ["heron", "--stream", "--run-config"]
    config = parse_config_args([words[5]])
    assert config["recipe"] == "digits-published"
    assert config["set"].split() == ["clients.total=2", "rounds=3", "client.local_steps=2"]
    assert config["algorithm"] == "heron"
    assert config["round_timeout_s"] == 600.0
    assert parse_config_args([run_train(folder, tmp_path, "rounds=3").stdout.splitlines()[5]])["recipe"] == "digits"
    (tmp_path / "my run").mkdir()
    resumed = parse_config_args([run_train(folder, tmp_path, "--resume", "my run").stdout.splitlines()[5]])
    assert resumed["resume"] == str(tmp_path / "my run")
    home = (folder / "server" / "home" / "config.toml").read_text()
    assert f'root-certificates = "{folder / "server" / "ca.crt"}"' in home


@pytest.mark.parametrize(
    "words", [["rounds=3", "digits"], ['set="x"'], ["--resume"], ["--resume", "absent"], ["digits", "--rounds"]]
)
def test_train_refuses_what_it_would_not_pass_on(words, folder, tmp_path) -> None:
    done = run_train(folder, tmp_path, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"num_clients": 0}, "expected 1 to 1000 clients, found 0"),
        ({"num_clients": 1001}, "found 1001"),
        ({"num_clients": 3, "port": 0}, "expected a port from 1 to 65532"),
        ({"num_clients": 3, "port": 65533}, "expected a port from 1 to 65532"),
        *(
            ({"num_clients": 1, "host": host}, "expected a host's name")
            for host in (
                "",
                "0.0.0.0",
                "::",
                "224.0.0.1",
                "1.2.3",
                "a_b",
                "-a",
                "a-",
                "a..b",
                'x";id;"',
                "A b",
                "a" * 64,
            )
        ),
    ],
)
def test_impossible_plans_are_refused(facts, expected) -> None:
    with pytest.raises(DeployError, match=re.escape(expected)):
        DeploymentPlan(**facts)


def test_an_unknown_recipe_is_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'digits'"):
        DeploymentPlan(1, recipe="digit")


@pytest.mark.parametrize(
    ("host", "listen", "control"),
    [
        ("127.0.0.1", "127.0.0.1", "127.0.0.1:18000"),
        ("localhost", "127.0.0.1", "127.0.0.1:18000"),
        ("::1", "::1", "[::1]:18000"),
        ("fl.example.org", "0.0.0.0", "127.0.0.1:18000"),
        ("10.0.0.5", "0.0.0.0", "127.0.0.1:18000"),
        ("2001:db8::7", "::", "[::1]:18000"),
    ],
)
def test_loopback_stays_loopback(host, listen, control) -> None:
    plan = DeploymentPlan(1, host=host)
    assert (plan.listen, plan.control) == (listen, control)


def test_a_folder_in_use_is_left_alone(tmp_path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    before = sorted(tmp_path.rglob("*"))
    for name in ("used", "file", "link"):
        with pytest.raises(DeployError, match="new or empty"):
            init_deployment(tmp_path / name, DeploymentPlan(1))
    assert sorted(tmp_path.rglob("*")) == before
    (tmp_path / "empty").mkdir()
    init_deployment(tmp_path / "empty", DeploymentPlan(1))
    assert (tmp_path / "empty" / "server" / "server.sh").exists()


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_is_interrupted_leaves_nothing(fault, tmp_path, monkeypatch) -> None:
    """At every single write."""
    write = heron.deploy.folder.write_file
    for last in range(16):
        left = [last]

        def failing(*arguments, left=left, **facts):
            if left[0] == 0:
                raise fault
            left[0] -= 1
            write(*arguments, **facts)

        monkeypatch.setattr(heron.deploy.folder, "write_file", failing)
        with pytest.raises((DeployError, KeyboardInterrupt)):
            init_deployment(tmp_path / "a", DeploymentPlan(1))
        assert list(tmp_path.iterdir()) == []


def test_renewing_changes_the_servers_pair_alone(folder) -> None:
    before = contents(folder)
    renew_certificate(folder)
    after = contents(folder)
    assert {name for name in after if after[name] != before.get(name)} == {"server/server.crt", "server/server.key"}
    assert after.keys() == before.keys()
    assert not [finding for finding in check_deployment(folder) if finding.level == "error"]


def test_one_client_more(folder) -> None:
    before = contents(folder)
    assert add_client(folder) == 2
    after = contents(folder)
    assert {name for name in before if after[name] != before[name]} == {"server/server.env"}
    assert {name.partition("/")[0] for name in after.keys() - before.keys()} == {"client-2", "server"}
    assert after["server/nodes/client-2.pub"] == after["client-2/node.key.pub"]
    assert b'HERON_CLIENTS="3"' in after["server/server.env"]
    assert not [finding for finding in check_deployment(folder) if finding.level == "error"]


@pytest.mark.parametrize("change", [renew_certificate, add_client])
def test_changes_need_the_whole_deployment(change, folder, tmp_path) -> None:
    for where in (folder / "client-0", folder / "server", tmp_path):
        before = contents(folder)
        with pytest.raises(DeployError):
            change(where)
        assert contents(folder) == before


def test_without_cryptography_the_extra_is_named(made, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.x509", None)
    for work in (lambda: init_deployment(tmp_path / "a", DeploymentPlan(1)), lambda: check_deployment(made)):
        with pytest.raises(MissingExtraError, match=r"heron-sfl\[flower\]"):
            work()
    assert list(tmp_path.iterdir()) == []


def test_the_app_is_the_clone_around_an_installed_package(tmp_path, monkeypatch) -> None:
    """Installed from a wheel, the package is in no clone; the command runs in one."""
    monkeypatch.setattr(heron.deploy.folder.heron, "__file__", str(tmp_path / "site" / "heron" / "__init__.py"))
    clone = tmp_path / "clone"
    clone.mkdir()
    monkeypatch.chdir(clone)
    for text, app in [
        ("", ""),
        ("[project]\nname = 'another'\n[tool.flwr.app]\n", ""),
        ("[project]\nname = 'heron-sfl'\n", ""),
        ("[project]\nname = 'heron-sfl'\n[tool.flwr.app]\n", str(clone)),
    ]:
        (clone / "pyproject.toml").write_text(text)
        init_deployment(tmp_path / f"parties{len(text)}", DeploymentPlan(1))
        assert f'HERON_APP="{app}"' in (tmp_path / f"parties{len(text)}" / "server" / "server.env").read_text()
