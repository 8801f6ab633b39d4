"""Commands load what they need and no more: answers that need no network do not wait for torch."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_HEAVY = ("torch", "sklearn", "scipy", "pandas", "sympy", "torch._dynamo", "torch._inductor", "numba")


def loaded_after(*words: str) -> set[str]:
    """The heavy modules that a process has after a command."""
    code = (
        "import sys; from heron.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        f"print(*[name for name in {_HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("words", [("--help",), ("train", "--help"), ("recipes",), ("algorithms",)])
def test_lists_and_help_load_no_torch(words: tuple[str, ...]) -> None:
    assert loaded_after(*words) == set()


def test_training_digits_loads_torch_alone(tmp_path: Path) -> None:
    words = ("train", "digits", "--set", "rounds=1", "--out", str(tmp_path / "run"))
    assert loaded_after(*words) == {"torch"}
    assert (tmp_path / "run" / "cost.json").exists()


def test_help_takes_a_blink() -> None:
    """0.3 s asked for; CPU time, because other tests run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = [sys.executable, "-m", "heron.cli.main", "--help"]
    subprocess.run(words, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.3
