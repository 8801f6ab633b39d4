"""Checks that this host has the programs, the versions and the data that a party needs."""

import os
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from heron.deploy.findings import Level
from heron.deploy.lean import REQUIREMENTS
from heron.deploy.party import Party
from heron.deploy.versions import FLOWER, NEEDED, from_text, installed_versions
from heron.errors import DeployError


def check_programs(party: Party) -> Iterator[tuple[Level, str]]:
    """Check that Flower's commands are where the env file says."""
    bin_folder = party.settings.get("HERON_BIN", "")
    path = f"{bin_folder}{os.pathsep}{os.environ.get('PATH', '')}" if bin_folder else os.environ.get("PATH", "")
    own = ("flower-superlink", "flwr", "flwr-serverapp") if party.is_server else ("flower-supernode", "flwr-clientapp")
    absent = [name for name in own if shutil.which(name, path=path) is None]
    if absent:
        raise DeployError(
            f"expected {', '.join(absent)} in HERON_BIN ({bin_folder or 'empty'}) or on PATH, found none; pip install "
            f"{_wanted(party)} and correct HERON_BIN"
        )
    if bin_folder and not Path(sys.executable).parent.samefile(bin_folder):
        yield "warning", f"this check runs in another environment than HERON_BIN ({bin_folder}): versions may differ"
    yield "ok", f"{' and '.join(own)} are installed"


def check_versions(party: Party) -> Iterator[tuple[Level, str]]:
    """Check for the tested version of Flower, and for the library versions that the deployment was made with."""
    runtime = "onnx" if party.is_lean else "torch"
    found, made_with = installed_versions(runtime), from_text(party.settings.get("HERON_VERSIONS", ""))
    if "flwr" not in found:
        raise DeployError(f"flwr is not installed in this environment; pip install {_wanted(party)}")
    if found["flwr"] != FLOWER:
        raise DeployError(
            f"expected flwr {FLOWER}, which this version of heron was tested with, found {found['flwr']}; pip install "
            f"flwr=={FLOWER}"
        )
    if (engine := NEEDED[runtime][-1]) not in found:
        raise DeployError(f"{engine} is not installed in this environment; pip install {_wanted(party)}")
    for library in NEEDED[runtime]:
        here, expected = found.get(library, "none"), made_with.get(library)
        if expected is not None and here != expected:
            yield "warning", f"{library} {here} here, the deployment was made with {expected}: results may differ"
    yield "ok", ", ".join(f"{library} {number}" for library, number in found.items())


def check_data(party: Party) -> Iterator[tuple[Level, str]]:
    """Check that the files of the recipe's data set and model are there and readable."""
    from heron.config import recipe_config

    config = recipe_config(party.setting("HERON_RECIPE"), "heron", [])
    files, root = config.data.files, Path(party.setting("HERON_DATA"))
    absent = [name for name in files if not (root / name).is_file()]
    if absent and not config.data.is_on_hub:
        raise DeployError(f"expected {', '.join(absent)} in HERON_DATA ({root}), found none; see data/README.md")
    if locked := [name for name in files if (root / name).is_file() and not os.access(root / name, os.R_OK)]:
        raise DeployError(f"expected files that can be read in HERON_DATA ({root}), found {', '.join(locked)}; chmod")
    if absent:
        yield "warning", f"no {' and no '.join(absent)} in HERON_DATA ({root}): this host needs access to the hub"
    source = config.split.pretrained_source
    if source is not None and not any(folder.is_dir() for folder in (Path(source), root.parent / "models" / source)):
        yield "warning", f"no model {source} in {root.parent / 'models'}: this host needs access to the hub"
    yield "ok", f"recipe {config.recipe} reads {' and '.join(files) if files else 'no files'}"


def check_app(party: Party) -> Iterator[tuple[Level, str]]:
    """Check that the server has the app that `flwr run` sends to the clients."""
    app = party.settings.get("HERON_APP", "")
    try:
        tools = tomllib.loads((Path(app) / "pyproject.toml").read_text(encoding="utf-8")).get("tool", {}) if app else {}
    except (OSError, ValueError) as error:
        raise _no_app(app) from error
    if "app" not in tools.get("flwr", {}):
        raise _no_app(app)
    yield "ok", f"the app is {app}"


def _wanted(party: Party) -> str:
    """Words after `pip install` for what a party needs."""
    return f"-r {REQUIREMENTS}" if party.is_lean else "'heron-sfl[flower]'"


def _no_app(app: str) -> DeployError:
    return DeployError(
        f"expected a clone of the heron repository as HERON_APP, found {app or 'nothing'}; clone it and correct the "
        f"line in server.env"
    )
