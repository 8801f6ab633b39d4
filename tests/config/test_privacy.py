"""Privacy in configurations: more rounds than the noise was found for, and Flower."""

from dataclasses import replace

import pytest

from heron.config import load_splits, recipe_config
from heron.config.overrides import fingerprint
from heron.config.run_files import with_rounds
from heron.config.sides import build_clients, build_servers
from heron.errors import ConfigError

SETTINGS = ["rounds=4", "client.local_steps=2"]


def config(*settings: str):
    return recipe_config("digits-published", "heron", [*SETTINGS, *settings])


def test_a_run_whose_noise_was_found_for_its_rounds_takes_no_more() -> None:
    found = config("privacy.epsilon=3")
    with pytest.raises(ConfigError, match=r"expected rounds=4 for this run, found 5: its noise was found for the"):
        with_rounds(found, 5)
    assert with_rounds(found, 4) == found
    assert fingerprint(found) != fingerprint(config("privacy.epsilon=3", "rounds=5"))


@pytest.mark.parametrize("settings", [["privacy.noise=2"], ["privacy.noise=2", "privacy.epsilon=9"]])
def test_a_run_of_given_noise_takes_more(settings: list[str]) -> None:
    found = config(*settings)
    assert with_rounds(found, 5).rounds == 5
    assert fingerprint(found) == fingerprint(config(*settings, "rounds=5"))


def test_flower_is_refused_on_both_sides() -> None:
    private, plain = config("privacy.noise=2"), config()
    splits = load_splits(private)
    with pytest.raises(ConfigError, match=r"expected privacy\.epsilon=0 and privacy\.noise=0 on Flower"):
        build_servers(private, splits)
    terms = build_servers(plain, splits).terms
    terms = replace(terms, settings=replace(terms.settings, privacy=private.privacy))
    with pytest.raises(ConfigError, match="on Flower"):
        build_clients(terms, {"partition-id": 0})
