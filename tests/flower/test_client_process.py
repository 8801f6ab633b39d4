"""The process of a client app: the same command as Flower's, without the SuperNode's database."""

import os
import subprocess
import sys
from pathlib import Path

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


def test_a_client_folder_has_it_and_flowers_own_command_takes_over_where_there_is_no_flower(tmp_path) -> None:
    write_client_process(tmp_path / "bin")
    assert (tmp_path / "bin" / "flwr-clientapp.py").read_bytes() == FILE.read_bytes()
    (tmp_path / "python").mkdir()
    (tmp_path / "python" / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')  # sees no packages
    (tmp_path / "flower").mkdir()
    (tmp_path / "flower" / "flwr-clientapp").write_text("#!/bin/sh\necho its own: $*\n")
    for place in ("python/python3", "flower/flwr-clientapp"):
        (tmp_path / place).chmod(0o755)
    path = f"{tmp_path / 'bin'}:{tmp_path / 'flower'}:/usr/bin:/bin"
    command = [tmp_path / "bin" / "flwr-clientapp", "--token", "a b"]
    done = run(command, PATH=path, HERON_BIN=str(tmp_path / "python"))
    assert done.stdout == "its own: --token a b\n", done.stderr
    (tmp_path / "flower" / "flwr-clientapp").unlink()
    done = run(command, PATH=path, HERON_BIN=str(tmp_path / "python"))
    assert done.returncode == 1
    assert "expected Flower in" in done.stderr
    assert "Traceback" not in done.stderr
