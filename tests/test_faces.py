"""A lazy face imports a name when it is asked for, and once."""

import sys
from types import ModuleType

import pytest

from heron.errors import MissingExtraError
from heron.faces import lazy_face


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


@pytest.mark.parametrize("name", ["absent", "unknown"])
def test_a_wrong_name_is_an_attribute_error(face: ModuleType, name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        getattr(face, name)


def test_where_pytorch_is_missing_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    get, _ = lazy_face("lazy_package", {"train": "torch"})
    with pytest.raises(MissingExtraError, match=r"'torch'.*pip install 'heron-sfl\[train\]'"):
        get("train")
