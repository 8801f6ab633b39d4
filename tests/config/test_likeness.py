"""Runs of one task: what may differ between an algorithm and its controls."""

import pytest

from heron.config import recipe_config
from heron.config.likeness import distance, flattened


def config(algorithm, *assignments, recipe="digits"):
    return flattened(recipe_config(recipe, algorithm, list(assignments)).to_dict())


def test_what_a_recipe_tunes_for_each_algorithm_may_differ():
    heron, control = config("heron"), config("cse_fsl")
    assert {"client.exact", "estimator.probes", "client.learning_rate"} <= {
        key for key in heron if heron[key] != control[key]
    }
    assert distance(heron, control) is not None
    assert distance(control, heron) == distance(heron, control)


@pytest.mark.parametrize(
    ("heron", "control"),
    [
        ([], ["client.learning_rate=0.5"]),
        (["client.exact=3"], []),  # cse_fsl has no boundary
        (["rounds=3"], ["rounds=3"]),
        (["seed=1"], ["seed=2"]),
    ],
)
def test_of_one_task(heron, control):
    assert distance(config("heron", *heron), config("cse_fsl", *control)) is not None


@pytest.mark.parametrize(
    ("heron", "control"),
    [
        (["clients.total=7"], []),
        (["rounds=3"], ["rounds=4"]),
        ([], ["client.batch_size=8"]),
        (["estimator.mu=1e-4"], []),
        (["smashed.codec=int8"], []),
    ],
)
def test_of_different_tasks(heron, control):
    assert distance(config("heron", *heron), config("cse_fsl", *control)) is None


def test_of_different_recipes():
    assert distance(config("heron"), config("cse_fsl", recipe="digits-published")) is None


def test_the_same_settings_are_nearer_than_others():
    heron = config("heron", "client.learning_rate=0.5")
    near, far = config("cse_fsl", "client.learning_rate=0.5"), config("cse_fsl", "client.learning_rate=0.4")
    assert distance(heron, near) < distance(heron, far)


def test_a_recipe_that_this_version_does_not_have_excuses_nothing():
    heron, control = config("heron") | {"recipe": "own"}, config("cse_fsl") | {"recipe": "own"}
    assert distance(heron, control) is None
    same = heron | {"algorithm": "cse_fsl", "client.learning_rate": 1.0}
    assert distance(heron, same) == 2
