"""The two tiers of tests: what `make test` runs, and what `make test-all` adds.

A test is in the second tier by its mark `slow`, or by its place in `slow.json`, which lists those that took long when
all tests were last measured (`make tiers`).
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

LIMIT = 0.25
"""Seconds of CPU time, of its processes included, from which on a test is slow."""
MEASURED = Path(__file__).with_name("slow.json")
"""Slow tests of every file, by the name that pytest gives them."""


def rows(table: Iterable[Any], quick: Collection[Any]) -> list[Any]:
    """Values for `pytest.mark.parametrize`, of which all but some are slow.

    Args:
        table: all values.
        quick: those that the first tier runs.

    Raises:
        ValueError: if one of these is not in the table.
    """
    values = list(table)
    absent = [value for value in quick if value not in values]
    if absent:
        raise ValueError(f"expected rows of the table, found {absent}")
    return [value if value in quick else pytest.param(value, marks=pytest.mark.slow) for value in values]


def measured_slow() -> frozenset[str]:
    """Read which tests were slow when they were measured, as pytest names them (`FILE::TEST`)."""
    tests = json.loads(MEASURED.read_text(encoding="utf-8"))
    return frozenset(f"{file}::{name}" for file, names in tests.items() for name in names)


def slow_among(seconds: Mapping[str, float]) -> dict[str, list[str]]:
    """Choose the slow tests of each file; the quickest one of a file stays in the first tier if it takes a few seconds.

    Args:
        seconds: CPU time of tests by `FILE::TEST`.
    """
    files: dict[str, dict[str, float]] = defaultdict(dict)
    for test, time in seconds.items():
        file, _, name = test.partition("::")
        files[file][name] = time
    slow = {}
    for file, times in sorted(files.items()):
        quickest = min(times, key=times.__getitem__)
        spared = quickest if times[quickest] < 8 * LIMIT else None
        names = sorted(name for name, time in times.items() if time >= LIMIT and name != spared)
        if names:
            slow[file] = names
    return slow
