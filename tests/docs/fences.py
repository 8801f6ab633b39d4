"""Fenced blocks of a document: their language, their title and their text.

```python                                  a block of a program
```python title="heron/ROOM/file.py"       an excerpt or a new content of a file
```sh                                      commands, as a reader types them
"""

import re
from dataclasses import dataclass

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)(?: (?P<options>[^\n`]+))?\n(?P<text>.*?)^(?P=indent)```$",
    flags=re.MULTILINE | re.DOTALL,
)
_TITLE = re.compile(r'title="([^"]*)"')


@dataclass(frozen=True)
class Fence:
    """A fenced block.

    Attributes:
        language: the first word behind the fence; empty for plain text.
        title: a file that the block is about, or what its text is; empty for none.
        text: its lines, without the fence's indentation.
        line: number of its first line in the document, from 1.
    """

    language: str
    title: str
    text: str
    line: int


def fences(document: str) -> list[Fence]:
    """Read the blocks of a document, in order."""
    found = []
    for match in _FENCE.finditer(document):
        title = _TITLE.search(match["options"] or "")
        lines = match["text"].splitlines(keepends=True)
        text = "".join(line.removeprefix(match["indent"]) for line in lines)
        line = document.count("\n", 0, match.start("text")) + 1
        found.append(Fence(match["language"], title[1] if title else "", text, line))
    return found
