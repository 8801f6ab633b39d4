"""Flower's own processes: they compute what one process computes, despite kills and strangers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
MASKS = "update=scalars seed_groups=1 secure_sum=true client.exact=0 client.optimizer=sgd client.keep_state=false"


def can_have_namespace() -> bool:
    code = "from flower_processes import can_have_namespace; raise SystemExit(not can_have_namespace())"
    return subprocess.run([sys.executable, "-c", code], cwd=BENCHMARKS, check=False).returncode == 0


pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not can_have_namespace(), reason="unshare is not permitted here"
)


def said_by(script: str, *words: str, timeout_s: int) -> str:
    """Output of a script, which fails if it finds a fault; none of its processes is reachable from outside."""
    environment = {name: value for name, value in os.environ.items() if name != "HERON_IN_NAMESPACE"}
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_two_rounds_of_two_clients_over_tls() -> None:
    """The short version of what `make soak` tests: the same checkpoint as one process, byte for byte."""
    words = ["--engines", "deployment", "--algorithms", "heron", "--rounds", "2", "--clients", "2"]
    assert "bit for bit the in-process run" in said_by("flower_equality.py", *words, timeout_s=600)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("engine", "algorithm", "words"),
    [
        ("simulation", "heron", ["--clients", "3"]),
        ("simulation", "sflv2", ["--clients", "3", "--local-steps", "2"]),
        ("deployment", "heron", ["--clients", "3"]),
        ("deployment", "sflv2", ["--clients", "2", "--local-steps", "2"]),
        ("deployment", "heron", ["--clients", "3", "--set", "update=scalars smashed.codec=int4 link.bundle=true"]),
        ("simulation", "heron", ["--clients", "4", "--local-steps", "4", "--set", MASKS]),
        ("deployment", "heron", ["--clients", "3", "--local-steps", "4", "--set", MASKS]),
    ],
)
def test_it_computes_what_one_process_computes(engine: str, algorithm: str, words: list[str]) -> None:
    words = ["--engines", engine, "--algorithms", algorithm, "--rounds", "3", *words]
    assert "bit for bit the in-process run" in said_by("flower_equality.py", *words, timeout_s=1800)


@pytest.mark.soak
@pytest.mark.parametrize("words", [[], *([f"--lean={count}", "--rounds=12", "--faults=5"] for count in (1, 3))])
def test_a_run_survives_what_is_killed(words: list[str]) -> None:
    assert '"finished_rounds_kept": true' in said_by("flower_faults.py", *words, timeout_s=7200)


@pytest.mark.soak
@pytest.mark.parametrize(
    "words",
    [
        ["--private", "--rounds=10", "--faults=5", "--seed=1"],
        ["--masks", "--clients=4", "--rounds=10", "--faults=5", "--seed=1"],
        ["--private", "--masks", "--between", "--rounds=6", "--faults=3", "--seed=4"],
    ],
)
def test_secrets_survive_what_is_killed(words: list[str]) -> None:
    """Noise, charges and masks, with one client without PyTorch; the script fails if a proof does not hold."""
    words = [*words, "--lean=1", "--timeout=600"]
    assert '"nothing_told_in_two_ways": true' in said_by("flower_faults.py", *words, timeout_s=7200)


@pytest.mark.soak
@pytest.mark.parametrize(("drill", "lean"), [("strangers", 0), ("hostile", 0), ("hostile", 1), ("hostile", 3)])
def test_strangers_and_rubbish_are_refused(drill: str, lean: int) -> None:
    """Nodes of clients 0 to `lean` - 1 have no PyTorch; client 2 is the hostile one."""
    words = ["--drills", drill, "--lean", str(lean)]
    assert '"same_parameters": true' in said_by("flower_strangers.py", *words, timeout_s=1800)
