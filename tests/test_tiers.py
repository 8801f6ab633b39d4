"""Which tests are slow: by what was measured, and only tests that exist."""

import ast
import json
from functools import cache
from pathlib import Path

from tests.tiers import LIMIT, MEASURED, slow_among

ROOT = Path(__file__).parents[1]


def test_slow_tests_leave_the_first_tier_but_for_the_quickest_of_a_file() -> None:
    seconds = {
        "a.py::quick": LIMIT / 2,
        "a.py::slow[1]": LIMIT,
        "a.py::slow[a::b]": 10 * LIMIT,
        "b.py::slow": 2 * LIMIT,
        "b.py::slower": 3 * LIMIT,
        "c.py::minutes": 99 * LIMIT,
    }
    assert slow_among(seconds) == {"a.py": ["slow[1]", "slow[a::b]"], "b.py": ["slower"], "c.py": ["minutes"]}


@cache
def functions(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_what_is_listed_as_slow_exists() -> None:
    for file, names in json.loads(MEASURED.read_text(encoding="utf-8")).items():
        gone = {name.partition("[")[0].split("::")[-1] for name in names} - functions(file)
        assert not gone, f"{file}: no such tests, run `make tiers`: {sorted(gone)}"
