"""An extension of `heron` as docs/extending.md writes it down, applied to a copy of the package.

Fenced blocks of a section say what to do, in order:

    ```python heron/ROOM/file.py     a new file with this content
    ```diff heron/ROOM/file.py       a change of a file: lines begin with a space, + or -
    ```python                        a program that uses the extension
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "extending.md"
_FENCE = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        kind: `python` or `diff`.
        path: the file that it is about; empty for a program.
        text: its lines.
    """

    kind: str
    path: str
    text: str


def blocks(section: str) -> list[Block]:
    """Read the blocks of a section of the document, named by its heading."""
    text = DOCUMENT.read_text()
    _, found, rest = text.partition(f"\n## {section}\n")
    assert found, f"docs/extending.md has no section {section!r}"
    body = rest.partition("\n## ")[0]
    return [Block(kind, path or "", content) for kind, path, content in _FENCE.findall(body)]


def places(section: str) -> int:
    """Count what a section touches: new files, and stretches of existing ones."""
    return sum(len(_hunks(block)) if block.kind == "diff" else 1 for block in blocks(section) if block.path)


def apply(section: str, folder: Path) -> Path:
    """Copy the package to a folder and extend it there.

    Returns:
        The folder, for `PYTHONPATH`.
    """
    shutil.copytree(ROOT / "heron", folder / "heron", ignore=shutil.ignore_patterns("__pycache__"))
    for block in blocks(section):
        path = folder / block.path
        if block.kind == "diff":
            for hunk in _hunks(block):
                _change(path, hunk)
        elif block.path:
            assert not path.exists(), f"{block.path} exists already"
            path.write_text(block.text)
    return folder


def run(section: str, folder: Path) -> str:
    """Run the programs of a section on the extended copy and return what they print."""
    programs = [block.text for block in blocks(section) if not block.path]
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


def _hunks(block: Block) -> list[list[str]]:
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
