"""The folder of a deployment: made completely or not at all, then changed in single steps."""

import datetime as dt
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import heron
from heron.deploy.files import replace_file, write_file
from heron.deploy.lean import BUNDLE, bundle_digest, export_bundle, write_lean_files
from heron.deploy.party import Party, find_parties
from heron.deploy.plan import DeploymentPlan
from heron.deploy.process import write_client_process
from heron.deploy.render import render, script
from heron.deploy.versions import as_text, installed_versions
from heron.errors import DeployError, MissingExtraError

_SERVER_SCRIPTS = ("server.sh", "flwr.sh", "register.sh", "train.sh")
_UNQUOTABLE = re.compile(r'["\\`$\n]')


def init_deployment(folder: Path, plan: DeploymentPlan, now: dt.datetime | None = None) -> None:
    """Make the folder: an authority, a server's folder and one per client, each complete and with only its own secrets.

    Args:
        folder: a folder that does not exist, or is empty.
        plan: the parties.
        now: start of the certificates' validity; the present by default.

    Raises:
        DeployError: if the folder is not empty, or cannot be made.
        HeronError: if the clients are to run without PyTorch, and the recipe's cannot be exported.
        MissingExtraError: if `cryptography`, or a library of the export, is not installed.
    """
    require_cryptography()
    if folder.is_symlink() or folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise DeployError(f"expected a new or empty folder, found {folder} in use; choose another")

    def fill(aside: Path) -> None:
        _make_authority(aside, now)
        _make_server(aside, plan)
        renew_certificate(aside, now)
        for client_id in range(plan.num_clients):
            _make_client(aside, plan, client_id)
        write_file(aside / ".gitignore", b"*\n")  # keys do not belong in a repository
        write_file(aside / "README.md", render("README.md.j2", **_facts(plan)))

    _made_whole(folder, fill)


def renew_certificate(folder: Path, now: dt.datetime | None = None) -> None:
    """Give the server a new certificate and key, for the host in its settings, signed by the authority in the folder.

    Args:
        folder: the deployment's folder, with `authority/` and `server/` in it.
        now: start of its validity; the present by default.

    Raises:
        DeployError: if the authority's or the server's files are not there, or cannot be read or written.
        MissingExtraError: if `cryptography` is not installed.
    """
    require_cryptography()
    from heron.deploy.certificates import make_server_certificate
    from heron.deploy.trust import load_certificate, load_key

    server = _server_of(folder)
    certificate, key = (folder / "authority" / name for name in ("ca.crt", "ca.key"))
    made = make_server_certificate(
        load_certificate(certificate), load_key(key), server.setting("HERON_HOST"), now or dt.datetime.now(dt.UTC)
    )
    # If the process is killed between the two, the pair does not match; the check finds this, and renewing mends it.
    replace_file(server.folder / "server.key", made[1], secret=True)
    replace_file(server.folder / "server.crt", made[0])


def add_client(folder: Path) -> int:
    """Make the folder of one more client, and give the server its public key.

    Args:
        folder: the deployment's folder, with `server/` in it.

    Returns:
        The new client's number.

    Raises:
        DeployError: if the server's settings are not valid, or the number of clients has reached its maximum.
        BundleError: if the server's folder has a damaged bundle.
        MissingExtraError: if `cryptography` is not installed.
    """
    require_cryptography()
    server = _server_of(folder)
    client_id = server.count("HERON_CLIENTS")
    plan = DeploymentPlan(
        client_id + 1,
        server.setting("HERON_HOST"),
        server.port("HERON_PORT"),
        server.setting("HERON_RECIPE"),
        "onnx" if (server.folder / BUNDLE).is_dir() else "torch",
    )
    _make_client(folder, plan, client_id)
    settings = (server.folder / "server.env").read_text(encoding="utf-8")
    line = re.compile(r'^HERON_CLIENTS="[0-9]+"', re.MULTILINE)
    replace_file(server.folder / "server.env", line.sub(f'HERON_CLIENTS="{client_id + 1}"', settings).encode())
    return client_id


def require_cryptography() -> None:
    """Check that `cryptography` is installed, for actions that need it.

    Raises:
        MissingExtraError: if it is not installed.
    """
    try:
        import cryptography.x509  # noqa: F401 - a missing library is reported here, before its use
    except ImportError as error:
        raise MissingExtraError("cryptography", "flower") from error


def _make_authority(folder: Path, now: dt.datetime | None) -> None:
    from heron.deploy.certificates import make_authority

    certificate, key = make_authority(now or dt.datetime.now(dt.UTC))
    write_file(folder / "authority" / "ca.crt", certificate)
    write_file(folder / "authority" / "ca.key", key, secret=True)


def _make_server(folder: Path, plan: DeploymentPlan) -> None:
    server = folder / "server"
    write_file(server / "server.env", render("server.env.j2", **_facts(plan), app=_app(), listen=plan.listen))
    for name in _SERVER_SCRIPTS:
        write_file(server / name, script(name), executable=True)
    write_file(server / "ca.crt", (folder / "authority" / "ca.crt").read_bytes())
    write_file(server / "data" / "README.md", _data_page(plan))
    if plan.runtime == "onnx":
        export_bundle(server, plan.recipe, plan.num_clients)


def _make_client(folder: Path, plan: DeploymentPlan, client_id: int) -> None:
    from heron.deploy.node_keys import make_node_key

    name, lean, bundle = f"client-{client_id}", plan.runtime == "onnx", folder / "server" / BUNDLE
    private, public = make_node_key()

    def fill(client: Path) -> None:
        facts = _facts(plan) | {"client_id": client_id, "local_port": plan.local_port(client_id)}
        facts |= {"bundle_digest": bundle_digest(bundle) if lean else ""}
        facts |= {"versions": as_text(installed_versions("torch") | installed_versions(plan.runtime))}
        write_file(client / "client.env", render("client.env.j2", **facts))
        write_file(client / f"{name}.sh", script("client.sh"), executable=True)
        write_client_process(client / "bin")
        write_file(client / "ca.crt", (folder / "server" / "ca.crt").read_bytes())
        write_file(client / "node.key", private, secret=True)
        write_file(client / "node.key.pub", public)
        if lean:
            write_lean_files(client, bundle)
        else:
            write_file(client / "data" / "README.md", _data_page(plan))

    if (folder / name).exists():
        raise DeployError(f"expected no {name} in {folder} yet, found one; move it away")
    _made_whole(folder / name, fill)
    replace_file(folder / "server" / "nodes" / f"{name}.pub", public)


def _made_whole(folder: Path, fill: Callable[[Path], None]) -> None:
    """Fill a temporary folder, then give it its name once it is complete."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            fill(aside)
            aside.replace(folder)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
    except OSError as error:
        raise DeployError(f"cannot make {folder}: {error.strerror}; choose a folder that can be written") from error


def _server_of(folder: Path) -> Party:
    server = next((party for party in find_parties(folder) if party.is_server), None)
    if server is None or server.folder != folder / "server":
        raise DeployError(f"expected the folder that `heron deploy init` made, with server/ in it, found {folder}")
    return server


def _facts(plan: DeploymentPlan) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "host": plan.host,
        "port": plan.port,
        "num_clients": plan.num_clients,
        "control": plan.control,
        "recipe": plan.recipe,
        "lean": plan.runtime == "onnx",
        "bin": str(Path(sys.executable).parent),
        "versions": as_text(installed_versions()),
    }
    if _UNQUOTABLE.search(facts["bin"]):
        raise DeployError(f"expected a Python whose path has no quote, backslash or $, found {facts['bin']!r}")
    return facts


def _app() -> str:
    """The clone that contains this package, or that the command is called in; empty if there is none."""
    for root in (Path(heron.__file__).parents[1], Path.cwd()):
        try:
            project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        ours = project.get("project", {}).get("name") == "heron-sfl"
        if ours and "app" in project.get("tool", {}).get("flwr", {}) and not _UNQUOTABLE.search(str(root)):
            return str(root)
    return ""


def _data_page(plan: DeploymentPlan) -> bytes:
    from heron.config import recipe_config

    config = recipe_config(plan.recipe, "heron", [])
    lean = plan.runtime == "onnx"
    return render("data.md.j2", recipe=plan.recipe, data=config.data, model=config.split.pretrained_source, lean=lean)
