"""`heron audit`: the grid, its files, runs and recipes, and what it refuses."""

import json
from pathlib import Path

import pytest

import heron.cli.audit_runs
from heron.audit import ATTACKS
from heron.cli.main import main

QUICK = ["--set", "rounds=1", "--set", "client.local_steps=2"]
FIGURES = {
    *("decoder_ssim", "mean_ssim", "label_accuracy", "label_guess", "label_shown", "membership_auc"),
    "distance_correlation",
}


def test_help_names_every_attack_with_its_summary(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["audit", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    for attack in ATTACKS.values():
        assert f"{attack.name} {attack.summary}" in told


@pytest.mark.slow
def test_a_run_is_audited_and_a_page_shows_reconstructions(tmp_path: Path, capsys) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    assert main(["train", "digits", *QUICK, "--out", str(run)]) == 0
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert main(["audit", str(run), "--attacks", "tokens", "--examples", "64", "--out", str(out)]) == 2
    assert "expected for tokens texts, found digits: take a recipe with texts" in capsys.readouterr().err
    assert not out.exists()
    attacks = "decoder,labels,membership,dependence"
    assert main(["audit", str(run), "--attacks", f"{attacks},scalars", "--examples", "64", "--out", str(out)]) == 0
    assert "expected runs to which scalars can be applied, found none here" in capsys.readouterr().err
    assert main(["audit", str(run), "--attacks", attacks, "--examples", "64", "--out", str(out)]) == 0
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    (row,) = json.loads((out / "audit.json").read_text())["rows"]
    assert row["figures"].keys() == FIGURES
    assert row["figures"]["decoder_ssim"] > row["figures"]["mean_ssim"] + 0.1
    assert row["figures"]["label_accuracy"] > row["figures"]["label_guess"] + 0.3
    assert abs(row["figures"]["membership_auc"] - 0.5) < 0.2
    page = (out / "audit.html").read_text()
    assert "data:image/png;base64," in page
    assert "decoder SSIM" in page
    assert "http://" not in page
    assert (out / "audit.png").read_bytes().startswith(b"\x89PNG")
    shown = capsys.readouterr().out
    assert "labels read %" in shown
    assert str(out / "audit.html") in shown


@pytest.mark.slow
def test_of_an_unfinished_run_it_is_said_where_it_stands(tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    assert main(["train", "digits", *QUICK, "--set", "rounds=2", "--out", str(run)]) == 0
    words = ["audit", str(run), "--attacks", "dependence", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "attacked as it is" not in said.err
    assert "Distance correlation: 0 for independent" in said.out
    assert "SSIM" not in said.out, "what no column has is not explained"
    (run / "summary.json").unlink()
    assert main(words) == 0
    assert f"{run}: attacked as it is after round 2 of 2; a claimed epsilon" in capsys.readouterr().err


@pytest.mark.slow
def test_a_recipe_is_trained_varied_and_compared(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(heron.cli.audit_runs, "num_workers", lambda _: 1)
    words = ["audit", "digits", *QUICK, "--vary", "smashed.codec=fp32,fp16", "--out", str(tmp_path)]
    assert main([*words, "--attacks", "decoder,dependence"]) == 0
    content = json.loads((tmp_path / "audit.json").read_text())
    assert [row["label"] for row in content["rows"]] == ["heron, codec=fp32", "heron, codec=fp16"]
    assert content["rows"][1]["protects"] is False, "rounding to 16 bits hides nothing"
    assert "no protection" in capsys.readouterr().out
    marks = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("summary.json")}
    assert len(marks) == 2
    assert main([*words, "--attacks", "dependence"]) == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("summary.json")} == marks, "runs are kept"


@pytest.mark.slow
def test_runs_are_audited_at_once_as_one_after_the_other(tmp_path: Path, monkeypatch) -> None:
    runs = [tmp_path / name for name in ("first", "second")]
    for seed, run in enumerate(runs):
        assert main(["train", "digits", *QUICK, "--set", f"seed={seed}", "--out", str(run)]) == 0
    at_once = heron.cli.audit_runs.audit_all(runs, ["labels", "dependence"], 64)
    monkeypatch.setattr(heron.cli.audit_runs, "num_workers", lambda _: 1)
    assert heron.cli.audit_runs.audit_all(runs, ["labels", "dependence"], 64) == at_once
    assert at_once[0] != at_once[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digit"], "digit"),
        (["digits", "--attacks", "decode"], "decode"),
        (["digits", "--examples", "3"], "expected --examples of at least 16, found 3"),
        (["digits", "frozen"], "expected one recipe, or folders of runs alone, found the recipe 'digits' among 2"),
        (["digits", "--vary", "smashed.codec"], "expected --vary key=value,value"),
        (["digits", "--set", "seed=3"], "audit takes its seeds from --seeds, found --set seed"),
        (["digits", "--attacks", "canaries"], "expected for canaries a claim of privacy, found none: set privacy.eps"),
        (["digits", "--attacks", "scalars,tokens"], "update=scalars, found dense updates: set it, with an algorithm"),
        (
            ["digits", "--algorithms", "decomfl", "--attacks", "labels"],
            "expected for labels smashed data, found decomfl, which uploads none: take another algorithm",
        ),
    ],
)
def test_bad_input_is_refused_in_one_line(arguments, message: str, tmp_path: Path, capsys) -> None:
    assert main(["audit", *arguments, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_runs_say_everything_and_must_be_runs(tmp_path: Path, capsys) -> None:
    assert main(["audit", str(tmp_path), "--seeds", "1"]) == 2
    assert "drop --algorithms, --seeds, --set and --vary" in capsys.readouterr().err
    assert main(["audit", str(tmp_path)]) == 2
    assert "expected a run directory or a folder of runs" in capsys.readouterr().err
