"""A word that may be a recipe or a folder of runs."""

from pathlib import Path

import pytest

from heron.cli.main import main
from heron.config import is_folder_of_runs
from heron.errors import ConfigError


def test_a_recipe_stays_one_next_to_a_folder_of_its_name(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not is_folder_of_runs("digits")
    Path("digits").mkdir()
    assert not is_folder_of_runs("digits"), "a bundle or anything else of this name"
    assert is_folder_of_runs("./digits")
    for missing, hint in (
        ("elsewhere", "which is neither; recipes: digits, "),
        ("digts", "did you mean 'digits'"),
    ):
        with pytest.raises(ConfigError, match=f"expected a recipe or a folder of runs, found '{missing}', .*{hint}"):
            is_folder_of_runs(missing)
    Path("a-file").touch()
    with pytest.raises(ConfigError, match="found 'a-file', which is a file"):
        is_folder_of_runs("a-file")
    Path("elsewhere").mkdir()
    assert is_folder_of_runs("elsewhere")


@pytest.mark.parametrize("place", ["digits", "digits/heron/seed0"])
def test_a_run_with_the_name_of_a_recipe_is_asked_about(place: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(place).mkdir(parents=True)
    Path(place, "config.toml").touch()
    with pytest.raises(ConfigError, match=r"found 'digits', which is both; write \./digits for the folder"):
        is_folder_of_runs("digits")
    assert is_folder_of_runs("./digits")


@pytest.mark.parametrize("words", [["export-client", "--out", "b"], ["analyze", "--out", "a"], ["audit"]])
def test_every_command_of_both_asks(words: list[str], tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("digits").mkdir()
    Path("digits", "config.toml").touch()
    assert main([words[0], "digits", *words[1:]]) == 2
    error = capsys.readouterr().err
    assert "which is both" in error
    assert error.count("\n") == 1


def test_audit_names_the_recipe_among_several_sources(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("digits").mkdir()
    Path("other").mkdir()
    assert main(["audit", "other", "digits"]) == 2
    assert "expected one recipe, or folders of runs alone, found the recipe 'digits' among 2" in capsys.readouterr().err
