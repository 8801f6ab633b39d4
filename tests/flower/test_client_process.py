"""The process of a client app: the same command as Flower's, without the SuperNode's database."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from heron.deploy.process import write_client_process
from heron.flower import client_process

FILE = Path(client_process.__file__)


def run(words, **variables):
    return subprocess.run(
        words, capture_output=True, text=True, check=False, timeout=120, env={**os.environ, **variables}
    )


def test_it_takes_the_words_of_flwr_clientapp() -> None:
    own = run([sys.executable, FILE, "--help"])
    assert own.returncode == 0, own.stderr
    flower = run([str(Path(sys.executable).parent / "flwr-clientapp"), "--help"])
    flags = [word for word in flower.stdout.split() if word.startswith("--")]
    assert "--runtime-api-address" in flags
    assert [word for word in own.stdout.split() if word.startswith("--")] == flags


def test_neither_a_database_nor_heron_is_imported() -> None:
    code = (
        "import runpy, sys; own = runpy.run_path(sys.argv[1]); own['_client_app']()\n"
        "names = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(names & {'sqlalchemy', 'alembic', 'heron', 'torch', 'flwr'}))\n"
        "import flwr.supernode.cli as whole; print(callable(whole.flower_supernode))\n"
    )
    done = run([sys.executable, "-c", code, FILE])
    assert done.stdout.splitlines() == ["['flwr']", "True"], done.stderr  # and nothing stays of the empty package


@pytest.fixture
def folder(tmp_path) -> Path:
    """A client's commands, next to those of Flower in another folder."""
    write_client_process(tmp_path / "bin")
    (tmp_path / "flower").mkdir()
    write_script(tmp_path / "flower" / "flower-supernode", "#!/bin/sh\n")
    return tmp_path


def write_script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def run_in(folder, *words):
    path = f"{folder / 'bin'}:{folder / 'flower'}:/usr/bin:/bin"
    return run([folder / "bin" / "flwr-clientapp", *words], PATH=path)


def test_a_client_folder_runs_it_in_the_python_of_flowers_own_command(folder) -> None:
    assert (folder / "bin" / "flwr-clientapp.py").read_bytes() == FILE.read_bytes()
    write_script(folder / "python3.99", f'#!/bin/sh\necho in its python\nexec {sys.executable} "$@"\n')
    write_script(folder / "flower" / "flwr-clientapp", f"#!{folder / 'python3.99'}\n")
    done = run_in(folder, "--help")
    assert done.stdout.startswith("in its python\nusage: flwr-clientapp"), done.stderr


def test_flowers_own_command_takes_over_where_its_python_is_not_known(folder) -> None:
    write_script(folder / "flower" / "flwr-clientapp", "#!/bin/sh\necho its own: $*\n")
    assert run_in(folder, "--token", "a b").stdout == "its own: --token a b\n"
    (folder / "flower" / "flower-supernode").unlink()
    done = run_in(folder)
    assert done.returncode == 127
    assert "set HERON_BIN" in done.stderr


def test_a_python_without_flower_leaves_it_to_flowers_own_command(folder) -> None:
    write_script(folder / "flower" / "flwr-clientapp", "#!/bin/sh\necho its own: $*\n")
    path = f"{folder / 'bin'}:{folder / 'flower'}:/usr/bin:/bin"
    words = [sys.executable, "-I", "-S", folder / "bin" / "flwr-clientapp.py", "--token", "a"]  # sees no packages
    assert run(words, PATH=path).stdout == "its own: --token a\n"
    (folder / "flower" / "flwr-clientapp").unlink()
    done = run(words, PATH=str(folder / "bin"))
    assert done.returncode == 1
    assert "expected Flower in" in done.stderr
    assert "Traceback" not in done.stderr
