"""Conformance of every model family of the table, and of the sections that the tables fill."""

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Literal

import pytest
import torch
from torch import nn

from heron.config import from_toml, load_splits, override, recipe_config, to_toml
from heron.config.families import MODELS
from heron.data import DATA_SETS, DataSet, Digits, ExampleShape
from heron.errors import ConfigError
from heron.split import ClientPart, DigitsCnn, ModelFamily, ResNet18, SplitModel, check_client

SMALL = (DigitsCnn(), ResNet18(width=4), ResNet18(width=4, bottleneck_channels=2, norm="group"))


@pytest.mark.parametrize("name", MODELS)
def test_a_family_is_a_section_with_a_default_for_every_key(name):
    kind = MODELS[name]
    assert is_dataclass(kind)
    assert kind().model == name == fields(kind)[0].default
    assert hash(kind()) == hash(kind())
    assert kind().reads_text == (kind.load_tokenizer is not ModelFamily.load_tokenizer)


@pytest.mark.parametrize("family", SMALL, ids=str)
def test_a_client_part_has_the_values_of_the_whole(family):
    part, split = family.build_client(3), family.build(3)
    assert isinstance(part, ClientPart)
    for name in ("client", "auxiliary"):
        whole = getattr(split, name).state_dict()
        own = getattr(part, name).state_dict()
        assert list(own) == list(whole)
        assert all(torch.equal(own[key], tensor) for key, tensor in whole.items())
    assert family.build_client(3, with_auxiliary=False).auxiliary is None
    example = torch.rand(2, 1, 8, 8) if family.model == "digits_cnn" else torch.rand(2, 3, 32, 32)
    runs = check_client(part, example)
    assert runs
    assert not any("server" in run for run in runs)


@pytest.mark.parametrize("family", SMALL, ids=str)
def test_neighbours_are_cuts_of_the_network_in_its_order(family):
    found = family.neighbours(2)
    assert len(found) == 4
    assert family.cut not in found
    built = [replace(family, cut=cut).build(0) for cut in found]
    sizes = [sum(tensor.numel() for tensor in split.client.state_dict().values()) for split in built]
    assert sizes == sorted(sizes)


@dataclass(frozen=True)
class Ones(DataSet):
    """Made for this test.

    Attributes:
        name: `ones`.
        size: number of examples.
    """

    name: Literal["ones"] = "ones"
    size: int = 30

    @property
    def example(self):
        return ExampleShape((1, 8, 8))

    def load(self, seed, tokenizer=None, root=None):
        return replace(Digits().load(seed), num_classes=self.size)


@dataclass(frozen=True)
class Linear(ModelFamily):
    """Made for this test.

    Attributes:
        model: `linear`.
        cut: always `first`.
    """

    model: Literal["linear"] = "linear"
    cut: str = "first"

    def network(self, *, random_weights=False):
        first = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
        return SplitModel(first, nn.Linear(4, 10), nn.Linear(4, 10))


def test_a_row_of_a_table_is_all_that_a_new_kind_needs(monkeypatch):
    from heron.config.models import _model

    monkeypatch.setitem(DATA_SETS, "ones", Ones)
    monkeypatch.setitem(MODELS, "linear", Linear)
    _model.cache_clear()
    try:
        config = replace(recipe_config("digits", "heron", []), data=Ones(), split=Linear())
        config = override(config, ["data.size=12"])
        assert config.data == Ones(size=12)
        assert from_toml(to_toml(config)) == config
        assert load_splits(config).num_classes == 12
        with pytest.raises(ConfigError, match=r"^unknown key 'data\.sise'; did you mean 'data\.size'\?"):
            override(config, ["data.sise=12"])
    finally:
        _model.cache_clear()
