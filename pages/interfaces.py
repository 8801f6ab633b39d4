"""The reference of the Python interface: a page for each package, an entry for each public name.

A name is public where a package's face has it: in `__all__`, or among the imports under `TYPE_CHECKING` of a lazy face.
The entries are directives of mkdocstrings, which reads signatures and docstrings when the site is built.
"""

import ast
from functools import cache
from pathlib import Path

import griffe

ROOT = Path(__file__).parents[1]
_ORDER = (
    "heron",
    "heron.zo",
    "heron.split",
    "heron.data",
    "heron.algorithms",
    "heron.client",
    "heron.server",
    "heron.wire",
    "heron.runs",
    "heron.analysis",
)
"""Packages that come first in the list of pages; others follow in alphabetical order."""


def public_names() -> dict[str, list[str]]:
    """Collect the public names of every package that has any, and the errors.

    Returns:
        Names by package, in alphabetical order; packages in the order of their pages.
    """
    found = {}
    for path in sorted((ROOT / "heron").rglob("__init__.py")):
        names = _face(ast.parse(path.read_text(encoding="utf-8")))
        if names:
            found[".".join(path.parent.relative_to(ROOT).parts)] = sorted(names, key=str.lower)
    errors = ast.parse((ROOT / "heron" / "errors.py").read_text(encoding="utf-8"))
    found["heron.errors"] = sorted(node.name for node in errors.body if isinstance(node, ast.ClassDef))
    return dict(sorted(found.items(), key=lambda item: (_rank(item[0]), item[0])))


def interface_pages() -> dict[str, str]:
    """Make the pages.

    Returns:
        Markdown by file name: `index.md`, and one file for each package.
    """
    packages = public_names()
    pages = {page_of(package): _page(package, names) for package, names in packages.items()}
    rows = [f"- [`{package}`]({page_of(package)}): {summary(package)}" for package in packages]
    return {"index.md": "\n".join([_INDEX, *rows]) + "\n"} | pages


def page_of(package: str) -> str:
    """Name the file of a package's page.

    Args:
        package: dotted name.

    Returns:
        The last part of the name, and `.md`.
    """
    return f"{package.rpartition('.')[2]}.md"


@cache
def tree() -> griffe.Module:
    """Read the whole package without importing it.

    Returns:
        The package `heron`; docstrings are of Google's form.
    """
    loaded = griffe.load("heron", search_paths=[ROOT], docstring_parser="google")
    assert isinstance(loaded, griffe.Module)
    return loaded


def entry(name: str) -> griffe.Object:
    """Look up what a public name stands for.

    Args:
        name: dotted name, e.g. `heron.zo.ZerothOrder`.

    Returns:
        The object where it is defined.
    """
    found = tree()
    for part in name.split(".")[1:]:
        found = found.members[part]  # type: ignore[assignment]
    return found.final_target if isinstance(found, griffe.Alias) else found


def summary(name: str) -> str:
    """Return the first sentence of a docstring, on one line.

    Args:
        name: dotted name.

    Returns:
        The first paragraph.
    """
    found = tree() if name == "heron" else entry(name)
    text = found.docstring.value if found.docstring else ""
    return " ".join(text.split("\n\n")[0].split())


_INDEX = """\
# Python interface

Names that a package exports are public and have an entry here; a module's other names may change without notice.
"""


def _page(package: str, names: list[str]) -> str:
    rows = [f"- [`{name}`](#{package}.{name}): {summary(f'{package}.{name}')}" for name in names]
    entries = [f"::: {package}.{name}" for name in names]
    head = [f"# {package}", summary(package), "\n".join(rows)]
    return "\n\n".join([*head, *entries]) + "\n"


def _rank(package: str) -> int:
    return _ORDER.index(package) if package in _ORDER else len(_ORDER)


def _face(module: ast.Module) -> list[str]:
    for node in module.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            names: list[str] = ast.literal_eval(node.value)
            return names
    checked = [node for node in module.body if isinstance(node, ast.If)]
    imports = [node for block in checked for node in block.body if isinstance(node, ast.ImportFrom)]
    return [alias.asname or alias.name for node in imports for alias in node.names]
