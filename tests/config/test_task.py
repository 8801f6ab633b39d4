"""A run of a configuration refuses data that do not fit its network, on either engine, before it trains."""

from dataclasses import replace

import pytest
import torch
from torch.utils.data import TensorDataset

from heron.config import build_federation, load_splits, recipe_config
from heron.config.sides import build_servers
from heron.data import Splits
from heron.errors import DataError


def splits_with(label: int, name: str) -> Splits:
    """Digits with one label replaced."""
    splits = load_splits(recipe_config("digits", "heron", []))
    examples = getattr(splits, name)
    assert isinstance(examples, TensorDataset)
    inputs, labels = examples.tensors
    changed = torch.where(torch.arange(len(labels)) == 7, label, labels)
    return replace(splits, **{name: TensorDataset(inputs, changed)})


@pytest.mark.parametrize("build", [build_federation, build_servers])
@pytest.mark.parametrize(("split", "name"), [("train", "training"), ("test", "test")])
def test_labels_that_the_network_has_no_output_for(build, split, name) -> None:
    config = recipe_config("digits", "heron", ["rounds=1"])
    with pytest.raises(DataError, match=rf"from 0 to 9 for the 10 outputs .*, found 10 in {name} example 7; number"):
        build(config, splits_with(10, split))
    build(config, splits_with(-100, split))
