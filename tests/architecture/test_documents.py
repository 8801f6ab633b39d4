"""Documents name what exists: paths, links and the sections that docstrings cite."""

import re
from pathlib import Path

from tests.architecture.test_structure import FLOORS

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
METHODS = ROOT / "docs" / "methods.md"
FOLDERS = "heron|tests|benchmarks|examples|docs"


def headings(document: Path) -> list[str]:
    return re.findall(r"^#+ (.+)$", document.read_text(), flags=re.MULTILINE)


def slug(heading: str) -> str:
    """The name that a heading has in a link."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors(document: Path) -> set[str]:
    """Names that a link to a document may have: of headings, given or made from their words, and of directives."""
    given = [re.search(r"\{ ?#([\w.-]+) ?\}$", heading) for heading in headings(document)]
    named = {name[1] if name else slug(heading) for name, heading in zip(given, headings(document), strict=True)}
    return named | set(re.findall(r"^::: ([\w.]+)$", document.read_text(), flags=re.MULTILINE))


def test_paths_exist() -> None:
    for document in DOCUMENTS:
        for name in re.findall(rf"`((?:{FOLDERS})/[\w./-]+)`", document.read_text()):
            assert (ROOT / name).exists(), f"{document.name} names {name}, which does not exist"


def test_links_lead_somewhere() -> None:
    for document in DOCUMENTS:
        prose = re.sub(r"^```.*?^```$|`[^`\n]+`", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", prose):
            if "://" in target:
                continue
            name, _, section = target.partition("#")
            found = document.parent / name if name else document
            assert found.exists(), f"{document.name} links to {target}, which does not exist"
            if section and found.suffix == ".md":  # of a picture it names the scheme that shows it
                assert section in anchors(found), f"{document.name} links to {target}: no such section"


def test_cited_sections_exist() -> None:
    """A docstring cites `docs/methods.md, "Section"`; a line may break within."""
    cited = 0
    for folder in ("heron", "tests", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for section in re.findall(r'docs/methods\.md,\s+"([^"]+)"', path.read_text()):
                cited += 1
                name = " ".join(section.split())
                assert name in headings(METHODS) or path == Path(__file__), f"{path}: methods.md has no {name!r}"
    assert cited >= 8


def test_decisions_are_listed() -> None:
    """The index has a line for every decision, and their numbers are those of their titles."""
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text()
    for path in sorted(folder.glob("0*.md")):
        assert f"]({path.name})" in index, f"docs/decisions/README.md does not list {path.name}"
        assert headings(path)[0].startswith(f"{int(path.name[:4])}. "), f"{path.name}: its title has another number"


def test_the_plan_of_the_house_is_the_one_that_is_enforced() -> None:
    plan = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    rooms = re.findall(r"^  (\w+)(?:/|\.py) +(\d+)  \S", plan, flags=re.MULTILINE)
    assert {name: int(floor) for name, floor in rooms} == FLOORS
