"""Configurations whose clients are exported."""

from pathlib import Path
from typing import Any

import pytest

import heron.config.exports
from heron.cli.main import main
from heron.config import export_clients, recipe_config, resolve_budget


@pytest.mark.slow
def test_the_exported_client_is_the_one_that_its_budget_chooses(monkeypatch, tmp_path: Path) -> None:
    """`heron train` with the same settings trains this client; without the choice, one that learns nothing exactly."""
    seen: list[Any] = []
    monkeypatch.setattr(heron.config.exports, "export_client", lambda _split, terms, *_, **__: seen.append(terms))
    config = recipe_config("digits", "heron", ["client.memory_budget=1MiB", "threads=1"])
    export_clients(config, tmp_path)
    (terms,) = seen
    assert terms.settings.client.exact == resolve_budget(config).client.exact == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(
            ["--set", "client.memory_budget=1KiB"], "expected a memory budget of at least", marks=pytest.mark.slow
        ),
        (["--algorithm", "local"], "local: expected client.learning=zeroth_order for an exported client, found local_"),
        (["--set", "client.learning=local_zeroth_order"], "heron: expected client.learning=zeroth_order"),
        (["--algorithm", "fsl_sage"], "fsl_sage: expected an auxiliary network that is the client's"),
        (["--algorithm", "decomfl"], "found the whole of it; choose heron"),
    ],
)
def test_clients_without_an_export_are_refused_in_one_line(words, message: str, tmp_path: Path, capsys) -> None:
    assert main(["export-client", "digits", *words, "--out", str(tmp_path / "bundle")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "bundle").exists()
