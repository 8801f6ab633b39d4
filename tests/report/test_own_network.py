"""Runs of `heron.train` in a report."""

import json

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import heron
from heron.cli.main import main
from heron.errors import CheckpointError
from heron.runs.lock import locked
from heron.split import SplitModel

DATA = TensorDataset(torch.linspace(-1, 1, 160).reshape(40, 4), torch.arange(40) % 2)


def train(out, algorithm="heron", **changes):
    torch.manual_seed(0)
    split = SplitModel(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Linear(4, 2), nn.Linear(4, 2))
    changes = {"rounds": 2, "clients": {"total": 2}} | changes
    return heron.train(split, DATA, test=DATA, algorithm=algorithm, out=out, **changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("own")
    for algorithm in ("heron", "cse_fsl", "frozen"):
        train(path / algorithm, algorithm)
    return path


def test_the_report_opens_them(folder, capsys):
    assert main(["report", str(folder)]) == 0
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 3
    assert all("no cost.json" in line for line in warnings)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert all(name in page for name in ("heron.train", "cse_fsl", "frozen"))


def test_they_are_not_resumed_without_their_network(folder, capsys):
    for words in (["train", "--resume"], ["export", "--out", str(folder / "exported")]):
        assert main([*words, str(folder / "heron")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert (
            "whose network and data are not in its files; go on in Python: the same call with this folder as out"
            in line
        )


def test_more_rounds_continue_and_a_run_in_work_is_not_complete(tmp_path):
    train(tmp_path / "run")
    seen = []
    result = train(
        tmp_path / "run",
        rounds=3,
        observe=lambda row: seen.append((row["round"], (tmp_path / "run" / "summary.json").exists())),
    )
    assert seen == [(3, False)]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["round"] == 3
    whole = train(tmp_path / "whole", rounds=3)
    assert [row["train_loss"] for row in result.metrics] == [row["train_loss"] for row in whole.metrics]


def test_another_process_at_work_is_named(tmp_path):
    with locked(tmp_path, print), pytest.raises(CheckpointError, match="without another process at work"):
        train(tmp_path)


def test_a_lock_that_was_taken_over_is_a_warning(tmp_path):
    with locked(tmp_path, print):
        owner = (tmp_path / "owner.json").read_bytes()
    (tmp_path / "owner.json").write_bytes(owner)
    with pytest.warns(UserWarning, match="took over the lock of process"):
        train(tmp_path)
