"""Flower's own processes: the simulation and a secured deployment compute what one process computes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "flower_equality.py"


def can_have_namespace() -> bool:
    code = "from flower_processes import can_have_namespace; raise SystemExit(not can_have_namespace())"
    return subprocess.run([sys.executable, "-c", code], cwd=SCRIPT.parent, check=False).returncode == 0


@pytest.mark.soak
@pytest.mark.skipif(sys.platform != "linux" or not can_have_namespace(), reason="unshare is not permitted here")
@pytest.mark.parametrize(("engine", "clients"), [("simulation", 3), ("deployment", 2)])
def test_it_computes_what_one_process_computes(engine: str, clients: int) -> None:
    """Three rounds of digits: the same checkpoint, byte for byte; nothing is reachable from outside meanwhile."""
    words = ["--engines", engine, "--algorithms", "heron", "--rounds", "3", "--clients", str(clients)]
    environment = {name: value for name, value in os.environ.items() if name != "HERON_IN_NAMESPACE"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bit for bit the in-process run" in done.stdout
