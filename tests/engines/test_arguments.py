"""A federation made by hand refuses arguments of a wrong type by name."""

from typing import Any

import numpy as np
import pytest
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

import heron
from heron.algorithms import ALGORITHMS
from heron.engines.in_process import Federation
from heron.errors import HeronError
from tests.conformance.test_algorithms import examples, partition, split_model

GOOD: dict[str, Any] = {
    "split": split_model(),
    "algorithm": ALGORITHMS["heron"],
    "dataset": examples(),
    "partition": partition(),
    "settings": heron.Settings(),
    "criterion": cross_entropy,
}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("split", split_model().client, "split: expected a network in two parts"),
        ("split", None, "split: expected a network in two parts"),
        ("algorithm", "heron", "algorithm: expected a row of heron.algorithms.ALGORITHMS, found 'heron'"),
        ("dataset", DataLoader(examples()), "dataset: expected a map-style data set"),
        ("settings", {"rounds": 3}, "settings: expected heron.Settings, found a table"),
        ("settings", heron.Client(), "settings: expected heron.Settings, found Client("),
        (
            "criterion",
            nn.CrossEntropyLoss,
            "criterion: expected a function of outputs and labels, found the class Cross",
        ),
        ("criterion", "cross_entropy", "criterion: expected a function of outputs and labels, found 'cross_entropy'"),
        ("partition", 3, "partition: expected the positions of each client's examples, found 3"),
        ("partition", [], "partition: expected the positions of each client's examples, found []"),
        ("partition", [[0.5]], "found shape (1,) of float64 for client 0"),
        ("partition", [[0, 1], []], "found shape (0,) of float64 for client 1"),
        ("partition", [[0, 1], [60]], "partition: expected positions from 0 to 59, found 0 to 60"),
        ("partition", [[-1]], "partition: expected positions from 0 to 59, found -1 to -1"),
    ],
)
def test_arguments_are_refused_by_name(name: str, value: Any, message: str) -> None:
    with pytest.raises(HeronError) as caught:
        Federation(**GOOD | {name: value})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_positions_may_be_lists() -> None:
    shares = [share.tolist() for share in partition()]
    by_lists = Federation(**GOOD | {"split": split_model(), "partition": shares})
    by_arrays = Federation(**GOOD | {"split": split_model()})
    assert by_lists.run_round().client_loss == by_arrays.run_round().client_loss
    assert all(isinstance(share, np.ndarray) for share in by_lists.partition)
