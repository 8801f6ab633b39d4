"""Every example runs, and a document shows it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_runs(path: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(path)], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_a_document_shows_the_example(path: Path) -> None:
    code = path.read_text().split('"""', 2)[2].strip()
    documents = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    assert any(code in document.read_text() for document in documents), f"no document shows {path.name} as it is"
