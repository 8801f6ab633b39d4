"""`heron.train` refuses arguments of another type, and to continue a run with something else than it began with."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import heron
from heron.algorithms import ALGORITHMS
from heron.errors import CheckpointError, HeronError
from heron.split import SplitModel
from tests.conformance.test_algorithms import comparable, examples, split_model
from tests.test_training import START, trained


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": split_model().client}, "split: expected a network in two parts, a heron.split.SplitModel, found"),
        ({"split": SplitModel}, "found a class SplitModel"),
        ({"data": DataLoader(examples())}, "data: expected a map-style data set"),
        ({"data": (torch.zeros(3, 1), torch.zeros(3))}, "write torch.utils.data.TensorDataset(inputs, labels)"),
        ({"test": DataLoader(examples())}, "test: expected a map-style data set"),
        ({"criterion": nn.CrossEntropyLoss}, "criterion: expected a function of outputs and labels, found the class"),
        ({"algorithm": ALGORITHMS["heron"]}, "expected the name of algorithm, one of heron, "),
        ({"algorithm": None}, "expected the name of algorithm, one of heron, "),
        ({"out": 3}, "out: expected the path of a folder, found 3"),
        ({"observe": 3}, "observe: expected a function of a round's metrics, found 3"),
        ({"rounds": "3"}, "rounds: expected an integer of at least 1, found '3'"),
        ({"settings": {"rounds": 3}}, "expected settings as heron.Settings, found a table"),
    ],
)
def test_arguments_of_another_type_are_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"split": split_model(), "data": examples()} | changes
    with pytest.raises(HeronError) as caught:
        heron.train(given.pop("split"), given.pop("data"), **given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_path_may_be_a_text_and_examples_a_list(tmp_path: Path) -> None:
    pairs = list(examples())
    rows = heron.train(split_model(), pairs, settings=START, out=str(tmp_path / "run")).metrics
    assert comparable(rows) == comparable(trained().metrics)
    assert (tmp_path / "run" / "metrics.jsonl").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"criterion": nn.CrossEntropyLoss(label_smoothing=0.5)}, "the criterion"),
        ({"data": TensorDataset(examples().tensors[0], 3 - examples().tensors[1])}, "the labels of the training"),
        ({"client": {"batch_size": 8, "learning_rate": 1.0}}, "client.learning_rate=0.001"),
        ({"algorithm": "cse_fsl"}, "algorithm='heron'"),
    ],
)
def test_a_run_is_not_continued_with_something_else(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    trained(rounds=1, out=tmp_path)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    given = {"data": examples()} | changes
    with pytest.raises(CheckpointError, match=f"expected {re.escape(told)}"):
        heron.train(split_model(), given.pop("data"), settings=START, out=tmp_path, **given)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
    assert len(trained(out=tmp_path).metrics) == 2
