"""Workers of a comparison end with their parent, and nobody else trains in their directories."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from heron.cli.main import main
from heron.cli.workers import _untaken
from heron.runs.lock import OWNER, locked

ROOT = Path(__file__).parents[2]
_PATIENCE_S = 240


def wait_for(condition):
    end = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state != "Z"  # ended, and nobody has asked how


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_workers_end_with_a_killed_parent_and_the_comparison_continues(tmp_path, capsys):
    out = tmp_path / "all"
    words = ["compare", "digits-published", "--algorithms", "frozen", "--seeds", "0,1", "--out", str(out), "--set"]
    parent = subprocess.Popen([sys.executable, "-m", "heron.cli.main", *words, "rounds=500"], cwd=ROOT)
    wait_for(lambda: list(out.rglob("metrics.jsonl")))
    workers = [json.loads(path.read_text())["pid"] for path in out.rglob(OWNER) if path.parent != out]
    assert workers
    assert parent.pid not in workers
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_for(lambda: not any(map(is_running, workers)))
    for config in out.rglob("config.toml"):
        config.write_text(config.read_text().replace("rounds = 500", "rounds = 1"))
        for name in ("metrics.jsonl", "checkpoint/state.safetensors"):
            (config.parent / name).unlink(missing_ok=True)
    capsys.readouterr()
    assert main([*words, "rounds=1"]) == 0
    (told,) = (line for line in capsys.readouterr().err.splitlines() if "warning" in line)
    assert f"took over the lock of process {parent.pid} " in told
    assert not list(out.rglob(OWNER))


@pytest.mark.parametrize("words", [["train", "--resume"], ["compare", "digits", "--algorithms", "frozen", "--out"]])
def test_a_folder_in_which_another_process_is_at_work(tmp_path, capsys, words):
    out = tmp_path / "run"
    short = ["--set", "rounds=1", "--out", str(out)]
    assert main(["train", "digits-published", *short] if words[0] == "train" else [*words[:-1], *short]) == 0
    capsys.readouterr()
    with locked(out, print):
        before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
        again = [*words, str(out), *(["--set", "rounds=1"] if words[0] == "compare" else [])]
        assert main(again) == 2
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    (line,) = capsys.readouterr().err.splitlines()
    assert f"found process {os.getpid()} of host" in line


def test_every_run_is_taken_once_by_whoever_is_free():
    runs = [Path(str(number)) for number in range(5)]
    taken = multiprocessing.get_context("spawn").Value("q", 0)
    first, second = (_untaken(runs, taken) for _ in range(2))
    assert [next(first), next(second), next(second), next(first)] == runs[:4]
    assert list(second) == runs[4:]
    assert not list(first)
