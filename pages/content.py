"""Content of all pages that are made from code."""

from pathlib import Path

from pages.algorithms import algorithm_pages
from pages.commands import commands_page
from pages.configuration import configuration_page
from pages.interfaces import interface_pages
from pages.notebooks import notebook_pages

DOCS = Path(__file__).parents[1] / "docs"


def all_pages() -> dict[Path, bytes]:
    """Make every page.

    Returns:
        Content by path.
    """
    reference = DOCS / "reference"
    pages = {reference / "configuration.md": configuration_page(), reference / "commands.md": commands_page()}
    pages |= {reference / "api" / name: text for name, text in interface_pages().items()}
    pages |= algorithm_pages(DOCS / "algorithms")
    return {path: text.encode() for path, text in pages.items()} | notebook_pages()


def changed_pages() -> dict[Path, bytes]:
    """Make the pages and compare them with the files.

    Returns:
        Content of those that differ, by path.
    """
    pages = all_pages()
    return {path: content for path, content in pages.items() if not path.is_file() or path.read_bytes() != content}


def write_pages() -> list[Path]:
    """Write the pages that differ.

    Returns:
        Their paths.
    """
    changed = changed_pages()
    for path, content in changed.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return list(changed)
