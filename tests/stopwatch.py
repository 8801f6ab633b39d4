"""A plugin of pytest that measures every test's CPU time and writes which tests are slow; `make tiers` uses it.

Tests that carry the mark `slow` by themselves are left out: they are in the second tier whatever they take.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tiers import MEASURED, slow_among

_FILE = "HERON_TEST_SECONDS"
"""Environment variable with the path of the file to which every process of the tests adds its measurements."""


def pytest_configure(config: pytest.Config) -> None:
    """Begin the file in the process that starts the others."""
    if not hasattr(config, "workerinput"):
        os.environ[_FILE] = str(Path(tempfile.mkdtemp()) / "seconds.jsonl")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Measure one test with its fixtures and with the processes that it waited for."""
    before = os.times()
    result = yield
    after = os.times()
    if all(mark.kwargs.get("measured") for mark in item.iter_markers("slow")):
        with Path(os.environ[_FILE]).open("a", encoding="utf-8") as file:
            file.write(json.dumps([item.nodeid, sum(after[:4]) - sum(before[:4])]) + "\n")
    return result


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the slow tests, in the process that started the others."""
    if hasattr(session.config, "workerinput"):
        return
    lines = Path(os.environ[_FILE]).read_text(encoding="utf-8").splitlines()
    slow = slow_among(dict(json.loads(line) for line in lines))
    MEASURED.write_text(json.dumps(slow, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
