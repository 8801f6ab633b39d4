"""Every recipe for every algorithm is a complete configuration that survives TOML."""

import re
from dataclasses import FrozenInstanceError, replace

import pytest

from heron.algorithms import ALGORITHMS
from heron.config import RECIPES, fingerprint, from_toml, override, recipe_config, to_toml
from heron.config.recipe_parts import Choice, update_rule
from heron.errors import ConfigError
from heron.wire.groups import Client


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_and_algorithm_validates_and_survives_toml(recipe, algorithm):
    config = recipe_config(recipe, algorithm, [])
    assert (config.recipe, config.algorithm) == (recipe, algorithm)
    assert from_toml(to_toml(config)) == config
    assert fingerprint(from_toml(to_toml(config))) == fingerprint(config)
    assert config.client.optimizer in ALGORITHMS[algorithm].optimizers


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_choice_takes_the_rule_that_the_algorithm_has(algorithm):
    client = Choice(Client(learning_rate=0.5), 0.1).client_of(algorithm, batch_size=7)
    rule = "sgd" if algorithm in {"ho_sfl", "decomfl", "fedkseed", "mu_splitfed"} else "adam"
    assert client == Client(learning_rate=0.5, batch_size=7, optimizer=rule)
    assert update_rule(algorithm) == rule


AS_PUBLISHED = ("digits-published", "cifar10-resnet18", "e2e-gpt2", "e2e-gpt2-medium")
CHOSEN = ("exact", "exact_learning_rate", "keep_state", "schedule")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("recipe", AS_PUBLISHED)
def test_recipes_named_after_the_paper_have_its_method(recipe, algorithm):
    client = recipe_config(recipe, algorithm, []).client
    assert [getattr(client, key) for key in CHOSEN] == [0, 0, True, "constant"]


@pytest.mark.parametrize(("recipe", "probes"), [("digits", 2), ("cifar10-resnet18-small", 1)])
def test_the_other_recipes_have_the_client_that_learns_more(recipe, probes):
    config = recipe_config(recipe, "heron", [])
    assert (config.client.exact, config.client.keep_state, config.client.schedule) == (2, False, "cosine")
    assert config.client.exact_learning_rate > 0
    assert (config.estimator.probes, config.estimator.scheme) == (probes, "one_sided")


TUNED_ON_DIGITS = {"heron", "local", "cse_fsl", "ho_fl"}


@pytest.mark.parametrize("recipe", RECIPES)
def test_algorithms_without_an_order_boundary_have_none(recipe):
    names = [name for name, row in ALGORITHMS.items() if not row.has_boundary]
    assert {recipe_config(recipe, name, []).client.exact for name in names} == {0}


@pytest.mark.parametrize(
    "algorithm", [name for name in ALGORITHMS if name not in {"heron", "local", "cse_fsl", "ho_fl"}]
)
def test_both_recipes_of_digits_are_one_for_the_other_algorithms(algorithm):
    published = recipe_config("digits-published", algorithm, [])
    assert replace(published, recipe="digits") == recipe_config("digits", algorithm, [])


def test_the_published_method_on_digits():
    config = recipe_config("digits-published", "heron", [])
    assert (config.client.learning_rate, config.server.learning_rate, config.estimator.probes) == (1e-2, 3e-3, 1)
    same = [f"client.{key}={str(getattr(config.client, key)).lower()}" for key in (*CHOSEN, "learning_rate")]
    changed = recipe_config("digits", "heron", [*same, "server.learning_rate=3e-3", "estimator.probes=1"])
    assert replace(changed, recipe="digits-published") == config


def test_fingerprints_differ_with_any_key():
    config = recipe_config("digits", "heron", [])
    changed = ["seed=1", "client.learning_rate=0.2", "split.cut=relu2", "estimator.scheme=central", "wire=true"]
    assert len({fingerprint(config), *(fingerprint(override(config, [one])) for one in changed)}) == 6


def test_the_kernel_is_no_part_of_a_fingerprint():
    """All give the same bits: a run that goes on elsewhere may take another one."""
    config = recipe_config("digits", "heron", [])
    assert fingerprint(override(config, ["client.kernel=torch"])) == fingerprint(config)


def test_a_configuration_does_not_change():
    config = recipe_config("digits", "heron", [])
    with pytest.raises(FrozenInstanceError):
        config.rounds = 3


@pytest.mark.parametrize(
    ("recipe", "algorithm", "meant"), [("digit", "heron", "digits"), ("digits", "frozn", "frozen")]
)
def test_unknown_names_get_the_nearest(recipe, algorithm, meant):
    with pytest.raises(ConfigError, match=f"did you mean '{meant}'"):
        recipe_config(recipe, algorithm, [])


def test_every_key_must_be_in_a_file():
    text = to_toml(recipe_config("digits", "heron", []))
    for line in text.splitlines():
        name = line.partition(" = ")[0]
        if line and not line.startswith("[") and text.count(f"\n{name} = ") < 2:
            with pytest.raises(ConfigError) as caught:
                from_toml(text.replace(f"{line}\n", ""))
            assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["", "rounds = ", "rounds = 2\n", "\x00", "[data]\nname = 'digits'\n"])
def test_what_is_no_configuration_is_refused_in_one_line(text):
    with pytest.raises(ConfigError) as caught:
        from_toml(text)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("section", "key"), [("data", "validation"), ("split", "cut"), ("client", "batch_size"), ("server", "optimizer")]
)
def test_an_unknown_key_of_a_file_is_named_as_set_takes_it(section, key):
    text = to_toml(recipe_config("digits", "heron", [])).replace(f"[{section}]\n", f"[{section}]\n{key}s = 1\n")
    with pytest.raises(ConfigError, match=re.escape(f"unknown key '{section}.{key}s'; did you mean '{section}.{key}'")):
        from_toml(text)
