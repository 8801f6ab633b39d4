"""Notebooks run, and what is stored of them is what they print, up to figures that depend on the machine."""

import re

import pytest

pytest.importorskip("nbclient", reason="notebooks are run with the extra `dev`")
pytest.importorskip("ipykernel", reason="notebooks are run with the extra `dev`")

import nbformat

from pages.notebooks import FOLDER, run_notebook

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def printed(notebook) -> list[str]:
    """What the cells print, with one mark in place of each run of digits, blanks and signs."""
    texts = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            assert output["output_type"] != "error"
            texts.append(re.sub(r"[-\d.\s\[\]xa-f]+", "#", output.get("text", output["output_type"])))
    return texts


def test_there_are_two():
    assert len(NOTEBOOKS) == 2


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_as_stored(path):
    stored = nbformat.read(path, as_version=4)
    nbformat.validate(stored)
    assert printed(stored)
    assert printed(run_notebook(path)) == printed(stored)
