"""An extension of `heron` as docs/extending.md writes it down, applied to a copy of the package.

Fenced blocks of a section say what to do, in order:

    ```python title="heron/ROOM/file.py"     a new file with this content
    ```diff title="heron/ROOM/file.py"       a change of a file: lines begin with a space, + or -
    ```python                                a program that uses the extension
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.docs.fences import Fence, fences

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "extending.md"


def blocks(section: str) -> list[Fence]:
    """Read the blocks of a section of the document, named by its heading."""
    text = DOCUMENT.read_text()
    _, found, rest = text.partition(f"\n## {section}\n")
    assert found, f"docs/extending.md has no section {section!r}"
    return fences(rest.partition("\n## ")[0])


def places(section: str) -> int:
    """Count what a section touches: new files, and stretches of existing ones."""
    return sum(len(_hunks(block)) if block.language == "diff" else 1 for block in blocks(section) if block.title)


def apply(section: str, folder: Path) -> Path:
    """Copy the package to a folder and extend it there.

    Returns:
        The folder, for `PYTHONPATH`.
    """
    shutil.copytree(ROOT / "heron", folder / "heron", ignore=shutil.ignore_patterns("__pycache__"))
    for block in blocks(section):
        path = folder / block.title
        if block.language == "diff":
            for hunk in _hunks(block):
                _change(path, hunk)
        elif block.title:
            assert not path.exists(), f"{block.title} exists already"
            path.write_text(block.text)
    return folder


def run(section: str, folder: Path) -> str:
    """Run the programs of a section on the extended copy and return what they print."""
    programs = [block.text for block in blocks(section) if not block.title]
    assert programs, f"{section}: no program uses the extension"
    return python(folder, "-c", "\n".join(programs))


def python(folder: Path, *arguments: str) -> str:
    """Run Python with the extended package in place of the real one."""
    environment = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _hunks(block: Fence) -> list[list[str]]:
    """Stretches of a diff; a line `...` stands between two of them."""
    hunks: list[list[str]] = [[]]
    for line in block.text.splitlines():
        if line == "...":
            hunks.append([])
        else:
            hunks[-1].append(line)
    return hunks


def _change(path: Path, hunk: list[str]) -> None:
    before = "\n".join(line[1:] for line in hunk if not line.startswith("+"))
    after = "\n".join(line[1:] for line in hunk if not line.startswith("-"))
    text = path.read_text()
    assert text.count(before) == 1, f"{path.name}: expected this once, found it {text.count(before)} times:\n{before}"
    path.write_text(text.replace(before, after))
