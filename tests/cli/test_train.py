"""`heron train`: a run directory that is complete, reproducible and can be continued after Ctrl-C."""

import json

import pytest
from safetensors.torch import load_file

from heron.cli.main import main
from heron.config import from_toml, recipe_config
from heron.engines.in_process import Federation
from tests.tiers import rows

KEYS = {
    "round",
    "algorithm",
    "test_accuracy",
    "train_loss",
    "uplink_bytes",
    "downlink_bytes",
    "elapsed_s",
    "clients",
}
QUICK = ["--set", "rounds=2"]
# Its clients keep their states.
RECIPE = "digits-published"


def train(out, *arguments):
    return main(["train", RECIPE, *QUICK, "--out", str(out), *arguments])


def timeless(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        assert row.pop("elapsed_s") >= 0
    return rows


def assert_png(path):
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert b"IEND" in content[-12:]
    assert min(int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")) > 100


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train") / "run"
    assert train(folder, "--save-model") == 0
    return folder


def test_the_files_of_a_run(run):
    names = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert names == {
        "config.toml",
        "metrics.jsonl",
        "summary.json",
        "cost.json",
        "checkpoint/state.safetensors",
        *(f"checkpoint/clients/{client_id}-1.safetensors" for client_id in range(5)),
        "learning_curve.png",
        "model.safetensors",
    }
    assert_png(run / "learning_curve.png")


def test_the_saved_configuration_can_be_run_again(run):
    assert from_toml((run / "config.toml").read_text()) == recipe_config(RECIPE, "heron", ["rounds=2"])


def test_metrics_hold_the_documented_keys(run):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["round"] for row in rows] == [1, 2]
    for row in rows:
        assert row.keys() >= KEYS
        assert (row["algorithm"], row["clients"]) == ("heron", 5)
        assert 0 <= row["test_accuracy"] <= 1
    for key in ("uplink_bytes", "downlink_bytes", "elapsed_s"):
        assert 0 < rows[0][key] < rows[1][key]


def test_the_summary_is_the_last_row_and_the_traffic_by_kind(run):
    summary = json.loads((run / "summary.json").read_text())
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert {key: summary[key] for key in last} == last
    for direction in ("uplink", "downlink"):
        assert sum(summary[f"{direction}_bytes_by_kind"].values()) == summary[f"{direction}_bytes"]


def test_the_saved_model_is_the_joined_network(run):
    wanted = recipe_config(RECIPE, "heron", []).split.build(0).joined_state_dict()
    found = load_file(run / "model.safetensors")
    assert {name: tensor.shape for name, tensor in found.items()} == {n: t.shape for n, t in wanted.items()}


def test_the_same_seed_gives_the_same_metrics_and_another_seed_others(run, tmp_path):
    assert train(tmp_path / "again") == 0
    assert train(tmp_path / "other", "--set", "seed=1") == 0
    assert timeless(tmp_path / "again") == timeless(run)
    assert timeless(tmp_path / "other") != timeless(run)
    checkpoint = "checkpoint/state.safetensors"
    assert (tmp_path / "again" / checkpoint).read_bytes() == (run / checkpoint).read_bytes()


def test_default_folders_do_not_collide(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert main(["train", "digits", "--set", "rounds=1"]) == 0
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"digits-heron-seed0", "digits-heron-seed0-2"}


def test_resume_of_a_finished_run_shows_it_and_changes_no_result(run, capsys):
    results = ("config.toml", "metrics.jsonl", "summary.json", "checkpoint/state.safetensors")
    before = [(run / name).read_bytes() for name in results]
    assert main(["train", "--resume", str(run)]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    assert "test accuracy" in output.out
    assert [(run / name).read_bytes() for name in results] == before


def test_a_run_without_a_checkpoint_starts_over(run, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.toml").write_bytes((run / "config.toml").read_bytes())
    assert main(["train", "--resume", str(tmp_path / "run")]) == 0
    assert timeless(tmp_path / "run") == timeless(run)


@pytest.mark.parametrize("algorithm", rows(["heron", "cse_fsl", "frozen"], {"heron"}))
def test_ctrl_c_names_the_command_that_continues_as_if_nothing_had_happened(tmp_path, monkeypatch, capsys, algorithm):
    arguments = ["train", RECIPE, "--algorithm", algorithm, "--set", "rounds=3", "--out"]
    assert main([*arguments, str(tmp_path / "whole")]) == 0
    honest, out = Federation.run_round, tmp_path / "cut"

    def interrupted(federation):
        if federation.next_round == 1:
            raise KeyboardInterrupt
        return honest(federation)

    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(Federation, "run_round", interrupted)
        assert main([*arguments, str(out)]) == 130
    *progress, line = capsys.readouterr().err.splitlines()
    assert [shown.split()[2] for shown in progress] == ["0/3", "1/3"]
    assert line == f"heron: interrupted; continue with `heron train --resume {out}`"
    assert not (out / "summary.json").exists()
    assert main(["train", "--resume", str(out)]) == 0
    assert timeless(out) == timeless(tmp_path / "whole")
    checkpoint = "checkpoint/state.safetensors"
    assert (out / checkpoint).read_bytes() == (tmp_path / "whole" / checkpoint).read_bytes()


def test_leftover_of_a_crash_before_the_configuration_is_no_obstacle(tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / "config.toml.tmp").write_text("torn")
    assert main(["train", "digits", "--set", "rounds=1", "--out", str(out)]) == 0
    assert (out / "summary.json").exists()
