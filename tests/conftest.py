"""One thread a test process, since `pytest -n auto` starts one process per core already; and real data, if any."""

import gc
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.tiers import measured_slow

_DATA_NEXT_TO_CHECKOUT = Path(__file__).parents[2] / "shared" / "data"

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes that tests start
torch.set_num_threads(1)

# Tests that need real data read them from HERON_DATA; without it and without this folder they are skipped.
if _DATA_NEXT_TO_CHECKOUT.is_dir():
    os.environ.setdefault("HERON_DATA", str(_DATA_NEXT_TO_CHECKOUT))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests as slow that were slow when they were measured."""
    slow = measured_slow()
    for item in items:
        if item.nodeid in slow:
            item.add_marker(pytest.mark.slow(measured=True))


def pytest_collection_finish() -> None:
    """Keep what is imported by now out of garbage collections, which take a second over so many objects."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def saved(tmp_path_factory) -> Callable[[str], str]:
    """Directories of tiny language models by their name in `tests.lm.models.MODELS`, each written once."""
    pytest.importorskip("transformers", reason="language models come from transformers")
    from tests.lm.models import save

    directories: dict[str, str] = {}

    def directory(name: str) -> str:
        if name not in directories:
            directories[name] = save(name, tmp_path_factory.mktemp("model"))
        return directories[name]

    return directory
