"""Models that several tests read."""

from collections.abc import Callable

import pytest


@pytest.fixture(scope="session")
def saved(tmp_path_factory) -> Callable[[str], str]:
    """Directories of models by their name in `MODELS`, each written once."""
    pytest.importorskip("transformers", reason="language models come from transformers")
    from tests.lm.models import save

    directories: dict[str, str] = {}

    def directory(name: str) -> str:
        if name not in directories:
            directories[name] = save(name, tmp_path_factory.mktemp("model"))
        return directories[name]

    return directory
