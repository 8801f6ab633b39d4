"""Commands and programs of documents run as printed: from the installed package, in a namespace without a network.

CONTRIBUTING.md says how a block is marked that is not run. What such a block tells `heron` is parsed at least.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from heron.cli.parser import make_parser
from heron.config import recipe_config
from tests.docs.typed import ROOT, Block, blocks, script_of

TIMEOUT_S = 900
NAMES = ["README.md", "CONTRIBUTING.md", "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
DOCUMENTS = {str((ROOT / name).relative_to(ROOT)): blocks(ROOT / name) for name in NAMES}
COMMANDS = {"heron", "make", "pip", "flwr", "python", "python3", "git", "uv", "bash", "export"}
NAMESPACE = ("unshare", "--map-root-user", "--net", "--pid", "--fork", "--mount-proc", "--kill-child")
NOT_COPIED = shutil.ignore_patterns(".git", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info")
NOT_COPIED_OF_THE_ROOT = {".venv", "runs", "site", "dist"}
# Programs of these are run elsewhere: extensions by tests/extending, notebooks by tests/docs/test_notebooks.py.
ELSEWHERE = {"docs/extending.md", *(name for name in DOCUMENTS if name.startswith("docs/notebooks/"))}
TYPED = [
    name
    for name, found in DOCUMENTS.items()
    if any(block.is_typed or (block.is_program and name not in ELSEWHERE) for block in found if block.skip is None)
]
SKIPPED = [block for found in DOCUMENTS.values() for block in found if block.skip is not None]


def can_have_namespace() -> bool:
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    lo_up = [*NAMESPACE, "ip", "link", "set", "lo", "up"]
    return subprocess.run(lo_up, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the package as its wheel installs it; it comes before the checkout on the path."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    unpack = ["install", "--no-deps", "--no-index", "--find-links", str(folder), "--target", str(folder / "site")]
    for words in (build, [*unpack, "heron-sfl"]):
        done = subprocess.run([*pip, *words], cwd=folder, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
    yield folder / "site"
    shutil.rmtree(folder)


def left_out(folder: str, names: list[str]) -> set[str]:
    """Names that a copy of the clone leaves out; the package has rooms of the same names as folders of the root."""
    rest = NOT_COPIED_OF_THE_ROOT & {*names} if Path(folder) == ROOT else set()
    return {*NOT_COPIED(folder, names)} | rest


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux" or not can_have_namespace(), reason="unshare is not permitted here")
@pytest.mark.parametrize("document", TYPED)
def test_commands_run_as_printed(document: str, installed: Path, tmp_path: Path) -> None:
    """The reader is in a clone, has the package and its extras installed, and has no network."""
    clone, home = tmp_path / "clone", tmp_path / "home"
    shutil.copytree(ROOT, clone, ignore=left_out)
    home.mkdir()
    (tmp_path / "script.sh").write_text(
        script_of(DOCUMENTS[document], programs=document not in ELSEWHERE), encoding="utf-8"
    )
    kept = {"HERON_DATA", "LANG", "TMPDIR", "OMP_NUM_THREADS"}
    environment = {name: value for name, value in os.environ.items() if name in kept} | {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(installed),
        "PYTHONSAFEPATH": "1",  # `python file.py` does not take the clone's package
    }
    done = subprocess.run(
        [*NAMESPACE, "sh", "-c", 'ip link set lo up && exec bash "$0"', str(tmp_path / "script.sh")],
        cwd=clone,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, f"{document}:\n{done.stdout[-6000:]}"


@pytest.mark.parametrize("block", SKIPPED, ids=lambda block: block.place)
def test_commands_that_are_not_run_are_understood(block: Block) -> None:
    assert block.skip, f"{block.place}: say why it is not run: <!-- not run: REASON -->"
    for command in block.commands:
        if command[0] != "heron":
            continue
        options = make_parser().parse_args(command[1:])
        if getattr(options, "recipe", None) is not None and getattr(options, "set", None) is not None:
            recipe_config(options.recipe, getattr(options, "algorithm", None) or "heron", options.set)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_are_in_blocks_that_say_so(document: str) -> None:
    """A block of commands has the language of a shell: one without would never be run."""
    for block in DOCUMENTS[document]:
        if not block.language:
            typed = [command for command in block.commands if command[0] in COMMANDS]
            assert not typed, f"{block.place}: {' '.join(typed[0])} is a command: open the block with ```sh"
        runs = block.is_typed or block.is_program
        assert block.skip is None or runs, f"{block.place}: a mark above a block that never runs"
