"""The table of codecs can be made anywhere: without data it measures drawn values."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from heron.wire import CODECS

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_quick_table_has_a_row_for_every_codec() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "smashed_codecs.py"), "--quick"],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    for codec in CODECS:
        assert f"\n{codec} + zstd" in done.stdout
