"""The tour of a round: at most five files, and excerpts that stand in them."""

import re
from pathlib import Path

from tests.docs.fences import fences

ROOT = Path(__file__).parents[2]
TOUR = (ROOT / "docs" / "tour.md").read_text()
MAX_FILES = 5


def test_a_round_is_read_in_five_files() -> None:
    stops = re.findall(r"^## \d+\. .*`(heron/[\w/]+\.py)`$", TOUR, flags=re.MULTILINE)
    assert 3 <= len(stops) <= MAX_FILES
    assert len(set(stops)) == len(stops)
    assert [fence.title for fence in fences(TOUR)] == stops


def lines(text: str) -> str:
    """Lines without indentation and without blank ones between them."""
    return "".join(f"{line.strip()}\n" for line in text.splitlines() if line.strip())


def test_excerpts_stand_in_their_files() -> None:
    for excerpt in fences(TOUR):
        name = excerpt.title
        text, place = lines((ROOT / name).read_text()), 0
        for piece in map(lines, re.split(r"^\.\.\.\n", excerpt.text, flags=re.MULTILINE)):
            assert piece in text[place:], f"docs/tour.md: {name} has no such lines, after those before:\n{piece}"
            place = text.index(piece, place)
