"""Privacy in configurations: more rounds than the noise was found for, and the sides of a run on nodes."""

import pytest

from heron.config import load_splits, recipe_config
from heron.config.build import build_federation
from heron.config.overrides import fingerprint
from heron.config.run_files import with_rounds
from heron.config.sides import build_clients, build_servers
from heron.errors import ConfigError
from heron.privacy.vault import Vault

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


def test_a_node_without_a_vault_draws_nothing() -> None:
    private = config("privacy.noise=2")
    terms = build_servers(private, load_splits(private)).terms
    with pytest.raises(ConfigError, match="expected a vault for clients that draw from a secret, found none"):
        build_clients(terms, {"partition-id": 0})
    build_clients(terms, {"partition-id": 0}, Vault())


def test_servers_of_nodes_have_the_account_and_the_noise_of_one_process() -> None:
    for changes in (["privacy.epsilon=3"], ["privacy.noise=2", "privacy.least_examples=100"]):
        private = config(*changes)
        splits = load_splits(private)
        servers, parties = build_servers(private, splits), build_federation(private, splits)
        assert servers.account is not None
        assert servers.account.sizes == parties.servers.account.sizes
        assert servers.settings.privacy.noise == parties.settings.privacy.noise > 0
        assert servers.terms.settings.privacy == parties.clients.terms.settings.privacy


def test_least_examples_are_a_bound_that_the_data_here_have_to_keep() -> None:
    private = config("privacy.noise=2", "privacy.least_examples=1000")
    splits = load_splits(private)
    with pytest.raises(ConfigError, match=r"expected privacy\.least_examples of at most \d+, which the small"):
        build_federation(private, splits)
    assert set(build_servers(private, splits).account.sizes) == {1000}, "data of nodes are theirs"
