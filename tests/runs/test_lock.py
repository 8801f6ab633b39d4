"""One process at a time in a run directory, whatever has become of the one before."""

import json
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from heron.errors import CheckpointError
from heron.runs.lock import LOCK, OWNER, locked

ROOT = Path(__file__).parents[2]
_HOLD = """
import sys
from pathlib import Path
from heron.runs.lock import locked
with locked(Path(sys.argv[1]), print):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def held(tmp_path):
    """A folder, and another process at work in it."""
    folder = tmp_path / "run"
    words = [sys.executable, "-c", _HOLD, str(folder)]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield folder, process
        process.kill()


def never(line):
    raise AssertionError(line)


def written(folder, **changes):
    owner = {"pid": 12, "host": platform.node(), "since": "2026-01-01T00:00:00+00:00"} | changes
    folder.mkdir(exist_ok=True)
    (folder / OWNER).write_text(json.dumps(owner))


def test_a_lock_leaves_nothing(tmp_path):
    with locked(tmp_path / "new", never):
        assert {path.name for path in (tmp_path / "new").iterdir()} == {LOCK, OWNER}
        owner = json.loads((tmp_path / "new" / OWNER).read_text())
        assert (owner["pid"], owner["host"]) == (os.getpid(), platform.node())
    assert not (tmp_path / "new").exists()
    with locked(tmp_path, never):
        (tmp_path / "result").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_an_error_within_lets_it_go(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path, never):
        raise ZeroDivisionError
    with locked(tmp_path, never):
        pass


def test_a_second_one_in_this_process_is_refused(tmp_path):
    refusal = pytest.raises(CheckpointError, match=f"found process {os.getpid()} of host")
    with locked(tmp_path, never), refusal, locked(tmp_path, never):
        pass


def test_another_process_at_work_is_named(held):
    folder, process = held
    with pytest.raises(CheckpointError, match=f"found process {process.pid} of host .*, at work since 2"):
        locked(folder, never).__enter__()
    process.communicate("")
    with locked(folder, never):
        pass


def test_the_lock_of_a_killed_process_is_taken_over_and_told(held):
    folder, process = held
    process.send_signal(signal.SIGKILL)
    process.wait()
    lines = []
    with locked(folder, lines.append):
        assert json.loads((folder / OWNER).read_text())["pid"] == os.getpid()
    (line,) = lines
    assert f"took over the lock of process {process.pid} of host {platform.node()}" in line


def test_a_process_of_another_host_may_still_run(tmp_path):
    written(tmp_path, host="elsewhere")
    with pytest.raises(CheckpointError, match=f"process 12 of host elsewhere.*remove {tmp_path / OWNER}"):
        locked(tmp_path, never).__enter__()
    assert [path.name for path in tmp_path.iterdir()] == [OWNER]
    (tmp_path / OWNER).unlink()
    with locked(tmp_path, never):
        pass


@pytest.mark.parametrize("content", ["", "{}", "[1]", "\x00"])
def test_an_owner_that_a_crash_has_left_unreadable_is_no_obstacle(tmp_path, content):
    (tmp_path / OWNER).write_text(content)
    with locked(tmp_path, never):
        pass


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match=r"cannot lock .*Not a directory; choose a writable folder"):
        locked(tmp_path / "file" / "run", never).__enter__()
