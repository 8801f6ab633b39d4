"""More rounds for a run that has ended: the same as if it had been given them at once."""

import json
import shutil

import pytest

from heron.cli.main import main
from heron.config.run_files import read_config
from heron.engines.in_process import Federation

RECIPE = "digits-published"


def train(out, rounds):
    assert main(["train", RECIPE, "--set", f"rounds={rounds}", "--out", str(out)]) == 0


def results(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    timeless = [{key: value for key, value in row.items() if key != "elapsed_s"} for row in rows]
    summary = json.loads((folder / "summary.json").read_text())
    return timeless, summary["round"], (folder / "checkpoint" / "state.safetensors").read_bytes()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("rounds") / "two"
    train(out, 2)
    return out


@pytest.fixture
def run(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def refused(capsys, *words):
    capsys.readouterr()
    assert main([str(word) for word in words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_more_rounds_are_those_of_a_longer_run(run, tmp_path, monkeypatch):
    train(tmp_path / "whole", 4)
    honest = Federation.run_round

    def interrupted(federation):
        if federation.next_round == 3:
            assert not (run / "summary.json").exists()
            raise KeyboardInterrupt
        return honest(federation)

    with monkeypatch.context() as patch:
        patch.setattr(Federation, "run_round", interrupted)
        assert main(["train", "--resume", str(run), "--set", "rounds=4"]) == 130
    assert read_config(run).rounds == 4
    assert main(["train", "--resume", str(run)]) == 0
    assert results(run) == results(tmp_path / "whole")


def test_the_same_number_changes_nothing(run):
    before = results(run)
    assert main(["train", "--resume", str(run), "--set", "rounds=2"]) == 0
    assert results(run) == before


def test_fewer_rounds_than_done_are_refused(run, capsys):
    line = refused(capsys, "train", "--resume", run, "--set", "rounds=1")
    assert "expected rounds of at least the 2 that are done" in line
    assert read_config(run).rounds == 2
    assert (run / "summary.json").exists()


def test_other_keys_are_refused(run, capsys):
    assert "everything but rounds" in refused(capsys, "train", "--resume", run, "--set", "seed=1")
    assert "rounds: " in refused(capsys, "train", "--resume", run, "--set", "rounds=0")


def test_step_sizes_that_depend_on_the_number_of_rounds_are_told(tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", "digits", "--set", "rounds=1", "--out", str(out)]) == 0
    line = refused(capsys, "train", "--resume", out, "--set", "rounds=2")
    assert "with client.schedule=cosine the step sizes of all rounds depend on their number" in line
    assert read_config(out).rounds == 1
