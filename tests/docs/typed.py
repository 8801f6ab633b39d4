"""What a reader types who follows a document from top to bottom, as one script of a shell.

Blocks of Python without a title are typed into one session of Python, which `tests/docs/programs.py` is.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from tests.docs.fences import fences

ROOT = Path(__file__).parents[2]
SHELLS = {"bash", "console", "sh"}
OUTPUT = "Output"  # title of a block that shows what the program above it prints
_SESSION = f"""\
exec 4>&1
SCRATCH=$(mktemp -d)
coproc PYTHON {{ exec python {shlex.quote(str(ROOT / "tests/docs/programs.py"))} 3>&1 1>&4 4>&-; }}"""
_PROGRAM = """\
cat > "$SCRATCH/$NAME.py" <<'END OF BLOCK'
{text}END OF BLOCK
{expected}echo "$SCRATCH/$NAME.py" >&"${{PYTHON[1]}}"
read -r FAILED <&"${{PYTHON[0]}}"
[ "$FAILED" = 0 ]"""
_EXPECTED = """\
cat > "$SCRATCH/$NAME.txt" <<'END OF BLOCK'
{text}END OF BLOCK
"""
_MARK = re.compile(r"<!--\s*not run:\s*((?:(?!-->).)*?)\s*-->\s*$", flags=re.DOTALL)
_SAVED = re.compile(r"[\w-]+\.\w+")


@dataclass(frozen=True)
class Block:
    """A fenced block, as a reader takes it.

    Attributes:
        place: document and line, e.g. `docs/tour.md:14`.
        language: of its fence.
        text: its lines.
        title: of its fence; empty for none.
        saved_as: name of the file that the reader saves it as, from a title without a folder; empty for none.
        skip: reason why it is not run, from `<!-- not run: REASON -->` above it; None if it is run.
    """

    place: str
    language: str
    text: str
    title: str
    saved_as: str
    skip: str | None

    @property
    def is_typed(self) -> bool:
        """Whether a reader types it into a shell."""
        return self.language in SHELLS

    @property
    def is_program(self) -> bool:
        """Whether a reader types it into Python: it is no excerpt of a file and no file to save."""
        return self.language == "python" and not self.title

    @property
    def script(self) -> str:
        """What the reader types: everything, or in a `console` block what follows a prompt."""
        return _after_prompts(self.text) if self.language == "console" else self.text

    @property
    def commands(self) -> list[list[str]]:
        """Words of each line of the script, continued lines joined, without comments."""
        lines = self.script.replace("\\\n", " ").splitlines()
        return [words for line in lines if (words := _words(line))]


def blocks(document: Path, root: Path = ROOT) -> list[Block]:
    """Read a document's blocks, in order."""
    text = document.read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    found = []
    for fence in fences(text):
        mark = _MARK.search("".join(lines[: fence.line - 2]))
        saved_as = fence.title if _SAVED.fullmatch(fence.title) and fence.language not in SHELLS else ""
        place = f"{document.relative_to(root)}:{fence.line - 1}"
        found.append(Block(place, fence.language, fence.text, fence.title, saved_as, mark[1] if mark else None))
    return found


def script_of(document: list[Block], *, programs: bool = True) -> str:
    """Join the files, commands and programs of a document's blocks; each block is named before it is typed.

    Args:
        document: its blocks.
        programs: whether its programs are typed, too.
    """
    parts = ["set -euo pipefail", "trap 'echo \"failed: the block at $BLOCK\"' ERR"]
    if programs and any(block.is_program and block.skip is None for block in document):
        parts.append(_SESSION)
    for block, below in zip(document, [*document[1:], None], strict=True):
        if block.skip is not None:
            continue
        name = f'BLOCK={shlex.quote(block.place)}; echo "# $BLOCK"'
        if block.saved_as:
            parts.append(f"cat > {block.saved_as} <<'END OF BLOCK'\n{block.text}END OF BLOCK")
        elif block.is_typed:
            parts.append(f"{name}\n{block.script}")
        elif programs and block.is_program:
            shown = below is not None and below.title == OUTPUT
            expected = _EXPECTED.format(text=below.text) if shown else ""
            name += f"; NAME={len(parts)}"
            parts.append(f"{name}\n{_PROGRAM.format(text=block.text, expected=expected)}")
    return "\n".join(parts) + "\n"


def _after_prompts(text: str) -> str:
    typed, goes_on = [], False
    for line in text.splitlines():
        if line.startswith("$ ") or goes_on:
            typed.append(line.removeprefix("$ ").removeprefix("> "))
            goes_on = line.endswith("\\")
    return "\n".join(typed)


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:  # part of a longer construct of the shell
        return []
