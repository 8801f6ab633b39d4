"""Ranges of `pyproject.toml`: each has a lowest version to test, and base dependencies are few and light."""

import re
import tomllib

import pytest

from tests.installed.environments import ROOT
from tests.installed.oldest import TESTS, oldest

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
HEAVY = {
    *("torch", "scikit-learn", "onnxruntime", "flwr", "transformers", "peft", "datasets", "flwr-datasets", "numba"),
    *("pyarrow", "pillow", "triton", "matplotlib", "tensorboard"),
}
OWN = re.compile(r"heron-sfl\[(?P<extras>[\w,]+)\]")


def test_every_dependency_has_a_lowest_version() -> None:
    found = oldest(PROJECT)
    assert {"torch", "numpy", "matplotlib", "transformers", "datasets", "numba"} <= found.keys()


def test_a_dependency_without_a_lowest_version_is_named() -> None:
    with pytest.raises(ValueError, match="lowest version of 'rich<15'"):
        oldest({"name": "x", "dependencies": ["rich<15"], "optional-dependencies": {}})


def test_nothing_heavy_is_in_the_base() -> None:
    assert not HEAVY & oldest(PROJECT | {"optional-dependencies": {}}).keys()


def extras_with(library: str) -> set[str]:
    """Extras that install a library, themselves or by another extra."""
    extras = PROJECT["optional-dependencies"]

    def has(extra: str) -> bool:
        own = [match["extras"].split(",") for each in extras[extra] if (match := OWN.fullmatch(each))]
        return any(re.split("[<>=]", each)[0] == library for each in extras[extra]) or any(
            has(other) for others in own for other in others
        )

    return {extra for extra in extras if has(extra)}


def test_every_extra_brings_pytorch_but_those_of_devices_without_it() -> None:
    assert PROJECT["optional-dependencies"].keys() - extras_with("torch") == {"lean", "tables", "fast", "docs"}
    assert extras_with("torch") == extras_with("scikit-learn")


def test_the_oldest_versions_are_tried_on_tests_that_exist() -> None:
    assert all((ROOT / name).exists() for name in TESTS)
