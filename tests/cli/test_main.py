"""`python -m heron` is the command."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from heron import __version__

ROOT = Path(__file__).parents[2]


def test_the_package_runs_as_the_command() -> None:
    words = [sys.executable, "-m", "heron", "--version"]
    done = subprocess.run(
        words, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"heron {__version__}\n"


def test_a_mistake_is_one_line_and_exit_code_2(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["heron", "train", "nosuch"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("heron.__main__", run_name="__main__")
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
