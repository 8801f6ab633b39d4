"""Notebooks: run them, and show them as pages.

A notebook is stored with its outputs, so that it can be read where it is stored. Its page is the same as Markdown.
"""

from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbconvert import MarkdownExporter

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
_TIMEOUT_S = 300


def run_notebook(path: Path) -> Any:
    """Run all cells in a new kernel.

    Args:
        path: the notebook; it is not changed.

    Returns:
        The notebook with its outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: if a cell raises.
    """
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=_TIMEOUT_S, record_timing=False, coalesce_streams=True).execute(
        cwd=str(path.parent)
    )
    return notebook


def store_outputs() -> list[Path]:
    """Run every notebook and store it with its outputs.

    Returns:
        The notebooks.
    """
    paths = sorted(FOLDER.glob("*.ipynb"))
    for path in paths:
        nbformat.write(run_notebook(path), path)
    return paths


def notebook_pages() -> dict[Path, bytes]:
    """Make a page of every notebook as it is stored.

    Returns:
        Content of the pages and of their pictures, by path.
    """
    pages: dict[Path, bytes] = {}
    for path in sorted(FOLDER.glob("*.ipynb")):
        names = {"unique_key": path.stem, "output_files_dir": f"{path.stem}_files"}
        text, resources = MarkdownExporter().from_notebook_node(nbformat.read(path, as_version=4), resources=names)
        pages |= {FOLDER / name: content for name, content in resources["outputs"].items()}
        pages[path.with_suffix(".md")] = _page(path, text).encode()
    return pages


def _page(path: Path, text: str) -> str:
    """The page with a link to the notebook below its title, and words in place of the format of a picture."""
    title, _, rest = text.strip().partition("\n")
    link = f"[This page as a notebook]({path.name}) to run and change."
    lines = [line.rstrip() for line in rest.replace("![png](", "![Plot of the cell above](").strip().splitlines()]
    return "\n".join([title, "", link, "", *lines]) + "\n"
