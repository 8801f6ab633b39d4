"""Metrics are cut back to the checkpoint; a torn last line is no line."""

import json

import pytest

from heron.errors import CheckpointError
from heron.runs.run_directory import RunDirectory


def test_torn_line_ends_the_metrics(tmp_path) -> None:
    directory = RunDirectory(tmp_path)
    for number in (1, 2):
        directory.append_metrics({"round": number})
    with directory.metrics.open("a") as file:
        file.write('{"round": 3, "te')
    assert [row["round"] for row in directory.read_metrics()] == [1, 2]
    assert directory.num_recorded_rounds() == 2


def test_cut_metrics_drops_what_the_checkpoint_does_not_know(tmp_path) -> None:
    directory = RunDirectory(tmp_path)
    for number in (1, 2, 3):
        directory.append_metrics({"round": number})
    assert len(directory.cut_metrics(2)) == 2
    assert [json.loads(line)["round"] for line in directory.metrics.read_text().splitlines()] == [1, 2]


def test_missing_metrics_are_told(tmp_path) -> None:
    directory = RunDirectory(tmp_path)
    directory.append_metrics({"round": 1})
    with pytest.raises(CheckpointError, match=r"expected the 2 rounds of its checkpoint, found 1 .*restore line 2"):
        directory.cut_metrics(2)
