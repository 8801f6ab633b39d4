"""The built site: its pages, and what each of them links to and loads."""

import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parents[2]
SOURCES = ("mkdocs.yml", "CHANGELOG.md", "docs", "heron")
# Attributes by which a page loads something, as opposed to links that a reader follows.
_LOADS = {("img", "src"), ("script", "src"), ("source", "src"), ("iframe", "src"), ("image", "href"), ("use", "href")}
_LOADING_LINKS = {"stylesheet", "icon", "preload", "modulepreload", "preconnect", "dns-prefetch", "manifest"}


def build(folder: Path) -> Path:
    """Build the site as `make docs` does, from a copy of its sources.

    Args:
        folder: for the copy and the site.

    Returns:
        The site's folder.
    """
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder)
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


@dataclass
class Page(HTMLParser):
    """A page of the site.

    Attributes:
        path: its file.
        names: anchors that links may name.
        links: targets of its links.
        loaded: what a browser loads with it.
    """

    path: Path
    names: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {key: value or "" for key, value in attrs}
        self.names |= {values[key] for key in ("id", "name") if key in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "link" and _LOADING_LINKS & set(values.get("rel", "").split()):
            self.loaded.append(values["href"])
        self.loaded += [value for key, value in values.items() if (tag, key) in _LOADS]

    def target(self, link: str) -> tuple[Path, str] | None:
        """The file and the anchor that a link leads to; None if it leads to another host."""
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            return None
        found = (self.path.parent / unquote(parts.path)).resolve() if parts.path else self.path
        return found / "index.html" if found.is_dir() else found, unquote(parts.fragment)
