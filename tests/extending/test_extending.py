"""The examples of docs/extending.md, as they stand there: each is added to a copy of the package and trains a round."""

import re
import shutil
from pathlib import Path

import pytest

from tests.extending.extension import DOCUMENT, ROOT, apply, places, python, run
from tests.tiers import rows

# Section, and the number of places that it may touch.
EXAMPLES = [
    ("An algorithm", 2),
    ("A data set", 2),
    ("A model family", 2),
    ("A scalar transform", 5),
    ("A runtime", 2),
]


def test_every_section_with_an_example_is_run() -> None:
    sections = re.findall(r"^## (.+)$", DOCUMENT.read_text(), flags=re.MULTILINE)
    assert sections == [section for section, _ in EXAMPLES]


@pytest.mark.parametrize(("section", "limit"), EXAMPLES)
def test_an_extension_is_small(section: str, limit: int) -> None:
    touched = places(section)
    assert touched <= limit
    body = DOCUMENT.read_text().partition(f"\n## {section}\n")[2]
    assert f"**{touched} place{'s' * (touched > 1)}**" in body.partition("\n## ")[0]


@pytest.mark.parametrize("section", rows([section for section, _ in EXAMPLES], {"An algorithm"}))
def test_an_extension_works(section: str, tmp_path: Path) -> None:
    printed = run(section, apply(section, tmp_path))
    assert printed.strip()


@pytest.mark.slow
def test_a_new_algorithm_passes_the_conformance_suite(tmp_path: Path) -> None:
    """The suite runs over every row of the registry, so a new one needs no test of its own to be held to it."""
    apply("An algorithm", tmp_path)
    shutil.copytree(ROOT / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    suite = "tests/conformance/test_algorithms.py"
    printed = python(tmp_path, "-m", "pytest", suite, "-k", "sign_heron", "-p", "no:cacheprovider")
    assert re.search(r"[1-9]\d* passed", printed), printed
