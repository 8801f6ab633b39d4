"""Clients without PyTorch: their folders have the bundle and never install torch, and the check verifies both."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from flwr.common.config import parse_config_args

import heron.deploy.check_host
from heron.cli.main import main
from heron.client.onnx_runtime import open_bundle
from heron.deploy import DeploymentPlan, add_client, check_deployment
from heron.deploy.check_bundle import check_bundle
from heron.deploy.lean import BUNDLE, REQUIREMENTS, bundle_digest
from heron.deploy.party import find_parties, read_settings
from heron.errors import BundleError, ConfigError
from heron.flower import build_bundle_clients
from tests.deploy.conftest import free_ports

ROOT = Path(__file__).parents[2]
FILES = {"manifest.json", "terms.json", "clean.onnx", "probe.onnx"}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("lean") / "deployment"
    port = ["--port", str(free_ports(3))]
    assert main(["deploy", "init", str(folder), "--clients", "2", "--runtime", "onnx", *port]) == 0
    return folder


@pytest.fixture
def folder(made, tmp_path) -> Path:
    """A copy whose clients have examples."""
    copy = shutil.copytree(made, tmp_path / "deployment")
    for number in range(2):
        write_examples(copy / f"client-{number}" / "data" / "examples.npz")
    return copy


def write_examples(path: Path, *, highest: int = 9, shape: tuple[int, ...] = (1, 8, 8)) -> None:
    draw = np.random.default_rng(0)
    np.savez(path, inputs=draw.random((40, *shape), np.float32), labels=np.arange(40) % (highest + 1))


def of(level, findings):
    return [finding for finding in findings if finding.level == level]


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_folder_has_the_bundle_and_what_it_needs(made) -> None:
    bundle = {f"bundle/{name}" for name in FILES}
    process = {"bin/flwr-clientapp", "bin/flwr-clientapp.py"}
    own = process | {"client.env", "client-1.sh", "ca.crt", "node.key", "node.key.pub", "data/README.md", REQUIREMENTS}
    assert names(made / "client-1") == own | bundle
    assert bundle <= names(made / "server")
    manifest = open_bundle(made / "client-1" / BUNDLE).manifest
    assert (manifest.algorithm, manifest.exact) == ("heron", 2)
    page = (made / "client-1" / "data" / "README.md").read_text()
    assert "shape (n, 1, 8, 8), float32" in page
    assert "shape (n,), int64, classes from 0 to 9" in page
    for path in (made / "client-1").rglob("*"):
        assert path.stat().st_mode & 0o777 in ({0o700} if path.is_dir() else {0o600, 0o644, 0o755})


def library(requirement: str) -> str:
    return re.split("[<>=[ ]", requirement)[0]


def test_requirements_are_those_of_the_package_without_training(made) -> None:
    """Ranges are written once for pip, in `pyproject.toml`; a client's are those of base and `lean`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    expected = {*project["dependencies"], *project["optional-dependencies"]["lean"]}
    lines = (made / "client-0" / REQUIREMENTS).read_text().splitlines()
    assert {line for line in lines if not line.startswith("#")} == expected


def test_the_script_starts_a_node_that_builds_the_client(folder, tmp_path) -> None:
    """A stand-in for `flower-supernode` prints its words, and ends as if it did not understand them."""
    (tmp_path / "bin").mkdir()
    stand_in = tmp_path / "bin" / "flower-supernode"
    stand_in.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\nexit 2\n")
    stand_in.chmod(0o755)
    env = folder / "client-1" / "client.env"
    env.write_text(re.sub('HERON_BIN=".*?"', f'HERON_BIN="{tmp_path / "bin"}"', env.read_text()))
    script = folder / "client-1" / "client-1.sh"
    done = subprocess.run(["sh", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    config = parse_config_args([done.stdout.splitlines()[-1]])
    clients = build_bundle_clients(open_bundle(folder / "server" / BUNDLE).terms, config)
    assert len(clients.data(1)) == 40


def test_a_deployment_without_torch_works(folder) -> None:
    findings = check_deployment(folder)
    assert of("error", findings) == []
    assert all("does not answer" in each.text for each in of("warning", findings))
    told = [each.text for each in findings if each.party == "client-0"]
    assert any("3 files of the bundle have their digests; heron" in text for text in told), told
    assert any("40 examples in" in text for text in told)
    assert any("onnxruntime" in text and "torch" not in text and "flwr" in text for text in told)


def test_it_is_checked_on_a_host_without_torch(folder, tmp_path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('torch was imported')")
    alone = (folder / "client-0").rename(tmp_path / "alone")
    done = subprocess.run(
        [sys.executable, "-m", "heron.cli.main", "deploy", "check", alone],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "client-0: 3 files of the bundle" in done.stdout


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def other_bundle(client: Path) -> None:
    """A sound bundle that is not the deployment's."""
    path = client / BUNDLE / "manifest.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"made_with": "another"}))
    open_bundle(client / BUNDLE)


DAMAGE = {
    "a bit of a graph": (lambda c: flip(c / BUNDLE / "clean.onnx"), "clean.onnx: expected the digest"),
    "no terms": (lambda c: (c / BUNDLE / "terms.json").unlink(), "cannot read .*terms.json"),
    "no bundle": (lambda c: shutil.rmtree(c / BUNDLE), "cannot read .*manifest.json"),
    "another bundle": (other_bundle, "expected the bundle of this deployment in .*, with the digest"),
    "no requirements": (lambda c: (c / REQUIREMENTS).unlink(), f"expected {REQUIREMENTS} in"),
    "no examples": (lambda c: (c / "data" / "examples.npz").unlink(), "cannot read .*examples.npz"),
    "other shape": (lambda c: write_examples(c / "data" / "examples.npz", shape=(8, 8)), "expected inputs of shape"),
    "other labels": (lambda c: write_examples(c / "data" / "examples.npz", highest=12), "labels from 0 to 9, found 1"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_found(kind, folder) -> None:
    damage, expected = DAMAGE[kind]
    damage(folder / "client-1")
    errors = of("error", check_deployment(folder))
    assert {each.party for each in errors} == {"client-1"}
    assert all("\n" not in str(each) for each in errors)
    assert any(re.search(expected, each.text) for each in errors), errors


def test_a_replaced_bundle_counts_once_its_digest_does(folder) -> None:
    client = folder / "client-1"
    other_bundle(client)
    env = client / "client.env"
    digest = bundle_digest(client / BUNDLE)
    env.write_text(re.sub('DIGEST="[0-9a-f]+"', f'DIGEST="{digest}"', env.read_text()))
    (party,) = find_parties(client)
    assert [level for level, _ in check_bundle(party)] == ["ok"]


@pytest.mark.parametrize(("name", "level"), [("flwr", "error"), ("onnxruntime", "warning"), ("heron-sfl", "warning")])
def test_other_versions(name, level, folder, monkeypatch) -> None:
    found = heron.deploy.check_host.installed_versions("onnx") | {name: "9.9"}
    monkeypatch.setattr(heron.deploy.check_host, "installed_versions", lambda runtime: found)
    told = [each for each in check_deployment(folder, client=0) if "9.9" in each.text and each.level != "ok"]
    assert [each.level for each in told] == [level]


def test_one_client_more_has_the_same_bundle(folder) -> None:
    assert add_client(folder) == 2
    settings = [read_settings(folder / f"client-{number}" / "client.env") for number in (0, 2)]
    assert settings[0]["HERON_BUNDLE_DIGEST"] == settings[1]["HERON_BUNDLE_DIGEST"]
    write_examples(folder / "client-2" / "data" / "examples.npz")
    assert of("error", check_deployment(folder, client=2)) == []
    flip(folder / "server" / BUNDLE / "clean.onnx")
    before = names(folder)
    with pytest.raises(BundleError, match=r"clean\.onnx: expected the digest"):
        add_client(folder)
    assert names(folder) == before


def test_a_runtime_that_there_is_not_is_refused(tmp_path, capsys) -> None:
    with pytest.raises(ConfigError, match="unknown runtime 'jax'"):
        DeploymentPlan(1, runtime="jax")
    assert main(["deploy", "init", str(tmp_path / "a"), "--clients", "1", "--runtime", "jax"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
