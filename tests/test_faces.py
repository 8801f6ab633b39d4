"""A lazy face imports a name when it is asked for, and once."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from heron.errors import MissingExtraError
from heron.faces import lazy_face

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def face(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    package = ModuleType("lazy_package")
    package.__getattr__, package.__dir__ = lazy_face("lazy_package", {"Fraction": "fractions", "absent": "fractions"})
    monkeypatch.setitem(sys.modules, "lazy_package", package)
    return package


def test_a_name_comes_from_its_home_once(face: ModuleType) -> None:
    assert "Fraction" not in vars(face)
    assert face.Fraction is sys.modules["fractions"].Fraction
    assert "Fraction" in vars(face)


def test_names_are_listed_before_they_are_imported(face: ModuleType) -> None:
    assert {"Fraction", "absent"} <= set(dir(face))


def test_every_package_with_a_page_of_reference_is_there_after_import_heron_alone() -> None:
    """Documents and messages write `heron.split.cut` and the like."""
    code = "import sys, heron; assert 'heron.split' not in sys.modules; print(*dir(heron)); heron.split.cut"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    pages = {path.stem for path in (ROOT / "docs" / "reference" / "api").glob("*.md")}
    parts = {"index", "heron", "masks", "onnx_runtime"}  # of the site, or in another package
    assert pages - parts <= set(done.stdout.split())


@pytest.mark.parametrize("name", ["absent", "unknown"])
def test_a_wrong_name_is_an_attribute_error(face: ModuleType, name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        getattr(face, name)


def test_where_pytorch_is_missing_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    get, _ = lazy_face("lazy_package", {"train": "torch"})
    with pytest.raises(MissingExtraError, match=r"'torch'.*pip install 'heron-sfl\[train\]'"):
        get("train")
