"""Ranges of `pyproject.toml`: each has a lowest version to test, and base dependencies are few and light."""

import tomllib

import pytest

from tests.installed.environments import ROOT
from tests.installed.oldest import TESTS, oldest

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
HEAVY = {"flwr", "transformers", "peft", "datasets", "flwr-datasets", "numba", "triton", "matplotlib", "tensorboard"}


def test_every_dependency_has_a_lowest_version() -> None:
    found = oldest(PROJECT)
    assert {"torch", "numpy", "matplotlib", "transformers", "datasets", "numba"} <= found.keys()


def test_a_dependency_without_a_lowest_version_is_named() -> None:
    with pytest.raises(ValueError, match="lowest version of 'rich<15'"):
        oldest({"name": "x", "dependencies": ["rich<15"], "optional-dependencies": {}})


def test_nothing_heavy_is_in_the_base() -> None:
    assert not HEAVY & oldest(PROJECT | {"optional-dependencies": {}}).keys()


def test_the_oldest_versions_are_tried_on_tests_that_exist() -> None:
    assert all((ROOT / name).exists() for name in TESTS)
