"""Data that have no positions are refused, with what to give in place of them."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from heron.data.map_style import check_map_style
from heron.errors import DataError

INPUTS, LABELS = torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64)
PAIRS = TensorDataset(INPUTS, LABELS)


class Stream(IterableDataset):
    def __len__(self) -> int:
        return 4

    def __iter__(self) -> Any:
        return iter(PAIRS)


class WithoutLength(Dataset):
    def __getitem__(self, position: int) -> Any:
        return PAIRS[position]


class WithoutItems(Dataset):
    def __len__(self) -> int:
        return 4


@pytest.mark.parametrize(
    ("data", "found", "advice"),
    [
        (DataLoader(PAIRS), "a DataLoader", "loader.dataset"),
        (Stream(), "a Stream", "list(data)"),
        (INPUTS, "a Tensor", "TensorDataset(inputs, labels)"),
        ((INPUTS, LABELS), "a tuple of Tensor", "TensorDataset(inputs, labels)"),
        ([INPUTS, LABELS], "a list of Tensor", "TensorDataset(inputs, labels)"),
        (WithoutLength(), "a WithoutLength", "torch.utils.data.Dataset"),
        (WithoutItems(), "a WithoutItems", "torch.utils.data.Dataset"),
        ({"inputs": INPUTS}, "a dict", "torch.utils.data.Dataset"),
        ("digits", "a str", "torch.utils.data.Dataset"),
        (None, "None", "torch.utils.data.Dataset"),
        (zip(INPUTS, LABELS, strict=True), "a zip", "torch.utils.data.Dataset"),
        (WithoutItems, "the class WithoutItems", "make one: WithoutItems(...)"),
    ],
)
def test_what_has_no_positions_is_refused(data: Any, found: str, advice: str) -> None:
    with pytest.raises(DataError) as caught:
        check_map_style("data", data)
    message = str(caught.value)
    assert message.startswith("data: expected a map-style data set of (input, label) pairs")
    assert f"found {found}; " in message
    assert advice in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "data",
    [PAIRS, Subset(PAIRS, [1, 2]), ConcatDataset([PAIRS, PAIRS]), list(PAIRS), tuple(PAIRS), [], np.zeros((3, 2))],
    ids=lambda data: type(data).__name__,
)
def test_what_has_positions_will_do(data: Any) -> None:
    check_map_style("data", data)
