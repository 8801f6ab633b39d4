"""Privacy in configurations: more rounds than the noise was found for, and the sides of a run on nodes."""

from dataclasses import replace

import numpy as np
import pytest
from torch.utils.data import TensorDataset

from heron.config import load_splits, recipe_config
from heron.config.build import build_federation
from heron.config.overrides import fingerprint
from heron.config.run_files import with_rounds
from heron.config.sides import build_clients, build_servers
from heron.data import fetch, num_examples
from heron.errors import ConfigError, DataError
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


def test_both_sides_of_a_run_on_nodes_refuse_labels_that_cannot_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    private = config("privacy.label_epsilon=2")
    splits = load_splits(private)
    terms = build_servers(private, splits).terms
    whole = fetch(splits.train, np.arange(num_examples(splits.train)))
    whole.labels[-1] = -100
    odd = replace(splits, train=TensorDataset(whole.inputs, whole.labels))
    refusal = "expected integer labels from 0 to 9 .*found -100 and 1 such labels in all.*leave these examples out"
    with pytest.raises(DataError, match=refusal):
        build_servers(private, odd)
    build_clients(terms, {"partition-id": 0}, Vault())
    monkeypatch.setattr(type(private.data), "load", lambda *_: odd)
    with pytest.raises(DataError, match=refusal):
        build_clients(terms, {"partition-id": 0}, Vault())
