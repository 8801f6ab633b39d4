"""What the world around the command line may be like: locales, full disks, folders in place of files."""

import errno
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import heron.cli.listing
from heron import __version__
from heron.cli.main import main
from tests.report.saved_runs import save_run

ROOT = Path(__file__).parents[2]
_OLD_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_the_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"heron {__version__}\n"


@pytest.mark.parametrize(
    "words",
    [
        ["report", "run", "--out", "."],
        ["report", "run", "--out", "/"],
        ["profile", "digits", "--algorithms", "frozen", "--json", "."],
        ["plan", "digits", "--memory", "1MiB", "--json", "/"],
        ["generate", "run", "--json", ".."],
    ],
)
def test_a_folder_in_place_of_a_file_is_refused_before_any_work(words, capsys):
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "expected the name of a file to write, found the folder" in line


def test_files_are_read_as_utf_8_in_any_locale(tmp_path):
    profile = tmp_path / "ü.toml"
    shutil.copy(ROOT / "examples" / "devices.toml", profile)
    run = save_run(tmp_path, changes=(f"link.profile={profile}",))
    shutil.move(run, tmp_path / "run")
    done = subprocess.run(
        [sys.executable, "-m", "heron.cli.main", "report", str(tmp_path / "run")],
        cwd=ROOT,
        env=os.environ | _OLD_LOCALE,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "digits-published" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_a_terminal_that_lacks_a_character_gets_a_question_mark(monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(heron.cli.listing, "list_recipes", lambda: sys.stdout.write("79.1 ± 2.0\n"))
    assert main(["recipes"]) == 0
    terminal.flush()
    assert terminal.buffer.getvalue() == b"79.1 ? 2.0\n"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "there"), "there: No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied"), "Permission denied"),
    ],
)
def test_a_disk_that_fails_is_one_line(monkeypatch, capsys, error, expected):
    def fail():
        raise error

    monkeypatch.setattr(heron.cli.listing, "list_recipes", fail)
    assert main(["recipes"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("heron: ")
    assert expected in line


def test_a_plot_that_cannot_be_written_is_a_warning(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    out = tmp_path / "run"
    assert main(["train", "digits-published", "--set", "rounds=1", "--out", str(out)]) == 0
    (out / "learning_curve.png").unlink()
    (out / "learning_curve.png").mkdir()
    (out / "summary.json").unlink()
    capsys.readouterr()
    assert main(["train", "--resume", str(out)]) == 0
    output = capsys.readouterr()
    (line,) = output.err.splitlines()
    assert line.startswith("heron: warning: no plot (")
    assert "the run is complete" in line
    assert "results in" in output.out
    assert (out / "summary.json").exists()
