"""Tables of tests in two tiers: some rows in `make test`, all of them in `make test-all`."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


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
