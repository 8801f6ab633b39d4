"""`heron analyze`: the table, its files, and what it refuses."""

import json
from pathlib import Path

import pytest

from heron.cli.main import main

SMALL = ["--examples", "64", "--set", "threads=1", "--set", "client.exact=0", "--set", "client.local_steps=2"]


def test_a_recipe_along_training(tmp_path: Path, capsys) -> None:
    assert main(["analyze", "digits", *SMALL, "--rounds", "1,0", "--out", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "analysis.json").read_text())["rows"]
    assert [row["round"] for row in rows] == [0, 1]
    assert rows[0]["loss"] > rows[1]["loss"] > 0
    assert all(0 < row["effective_rank"] < row["dimension"] for row in rows)
    assert all(row["rate_by_effective_rank"] > row["rate_by_dimension"] > 0 for row in rows)
    assert (tmp_path / "analysis.png").read_bytes().startswith(b"\x89PNG")
    shown = capsys.readouterr().out
    assert "kappa" in shown
    assert str(tmp_path / "analysis.json") in shown


def test_a_run_is_looked_at_where_it_stands(tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    assert main(["train", "digits", *SMALL[2:], "--set", "rounds=1", "--out", str(run)]) == 0
    assert main(["analyze", str(run), "--examples", "64", "--out", str(tmp_path / "out")]) == 0
    (row,) = json.loads((tmp_path / "out" / "analysis.json").read_text())["rows"]
    assert row["round"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digits", "--algorithm", "frozen"], "expected an algorithm whose clients learn, found frozen"),
        (["digits", "--algorithm", "local"], "expected clients that descend one loss, found a loss for each layer"),
        (["digits", "--set", "client.learning=local_exact"], "expected clients that descend one loss, found a loss"),
        (["digits", "--rounds", "0,81"], "expected --rounds up to 80, those of the recipe, found 81"),
        (["digits", "--examples", "0"], "expected --examples of at least 1, found 0"),
        (["digit"], "digit"),
    ],
)
def test_what_cannot_be_analysed_is_refused_in_one_line(arguments, message: str, tmp_path: Path, capsys) -> None:
    assert main(["analyze", *arguments, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
