"""Pages made from code are those of the present code, and each algorithm has one."""

import re
from importlib import import_module

import pytest

pytest.importorskip("griffe", reason="docstrings are read by griffe, of the extra `docs`")
pytest.importorskip("nbconvert", reason="notebooks become pages by nbconvert, of the extra `dev`")

from heron.algorithms import ALGORITHMS
from heron.cli.parser import make_parser
from heron.config import recipe_config
from pages.content import DOCS, changed_pages
from pages.interfaces import public_names
from pages.users import users
from tests.docs.fences import fences

SECTIONS = [
    "Who computes what",
    "What travels",
    "Cost of a step",
    "Settings that matter",
    "When to use it",
    "Source",
    "Run it",
]


def test_pages_are_up_to_date():
    stale = sorted(str(path.relative_to(DOCS)) for path in changed_pages())
    assert not stale, f"{stale} are not those of the code: run `python -m pages`"


def test_every_algorithm_has_a_page_and_every_page_an_algorithm():
    pages = {path.stem for path in (DOCS / "algorithms").glob("*.md")}
    assert pages == {"index", *ALGORITHMS}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_page_tells_all_and_its_command_is_valid(name):
    text = (DOCS / "algorithms" / f"{name}.md").read_text()
    assert re.findall(r"^## (.+)$", text, flags=re.MULTILINE) == SECTIONS
    (command,) = [fence.text for fence in fences(text) if fence.language == "sh"]
    options = make_parser().parse_args(command.split()[1:])
    assert (options.command, options.algorithm) == ("train", name)
    recipe_config(options.recipe, options.algorithm, options.set)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_settings_that_matter_are_used(name):
    text = (DOCS / "algorithms" / f"{name}.md").read_text()
    section = text.partition("## Settings that matter")[2].partition("\n## ")[0]
    keys = re.findall(r"configuration\.md#([\w.]+)\)", section)
    assert keys
    assert all(name in users(key) for key in keys)


def test_public_names_exist():
    for package, names in public_names().items():
        module = import_module(package)
        assert [name for name in names if not hasattr(module, name)] == [], package


def test_no_page_names_a_folder_of_a_machine():
    for path in sorted(DOCS.rglob("*.md")):
        found = re.findall(r"/(?:home|root|work|Users)/\w+", path.read_text())
        assert not found, f"{path.name}: {found}"
