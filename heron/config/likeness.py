"""Likeness of runs: those of one task, in which each algorithm has the settings that its recipe has for it."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from typing import Any

from heron.algorithms import ALGORITHMS, CONTROLS
from heron.config.build import recipe_config
from heron.config.recipes import RECIPES
from heron.wire.privacy import Privacy

Flat = Mapping[str, Any]
"""A configuration by dotted key."""

# Read by algorithms with an order boundary alone.
_OF_BOUNDARY = {f"client.{key}" for key in ("exact", "exact_learning_rate", "memory_budget", "learning")}

_OF_UPDATES = {f"privacy.{field.name}" for field in fields(Privacy) if field.name != "label_epsilon"}


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A configuration by dotted key.

    Args:
        values: tables in tables, as in a TOML file.
        prefix: what comes before every key.

    Examples:
        >>> flattened({"seed": 0, "client": {"exact": 2}})
        {'seed': 0, 'client.exact': 2}
    """
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flattened(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def differing_keys(configs: Sequence[Flat]) -> list[str]:
    """Keys whose values differ between configurations, in their order; a missing key counts as a value of its own."""
    keys = dict.fromkeys(key for config in configs for key in config)
    return [key for key in keys if len({repr(config.get(key)) for config in configs}) > 1]


def distance(config: Flat, other: Flat) -> int | None:
    """Number of keys in which two runs of one task differ; None if they are not of one task.

    They may differ in the algorithm, in learning rates, which are tuned for each, in what both have as their recipe has
    it for their algorithm, in the order boundary if one of them has none, and in privacy if one is the frozen control.

    Args:
        config: of one run.
        other: of the other.
    """
    keys = [key for key in differing_keys([config, other]) if key != "seed"]
    if "recipe" in keys:
        return None
    own, has_boundary = [_as_in_recipe(each) for each in (config, other)], _has_boundary(config, other)
    is_control = CONTROLS["lower"] in (config["algorithm"], other["algorithm"])
    for key in keys:
        is_tuned = (
            key == "algorithm"
            or key.endswith("learning_rate")
            or (key in _OF_BOUNDARY and not has_boundary)
            or (key in _OF_UPDATES and is_control)  # its clients send none
        )
        if not is_tuned and not all(key in as_recipe for as_recipe in own):
            return None
    return len(keys)


def _as_in_recipe(config: Flat) -> set[str]:
    """Keys that have the value of the run's recipe for its algorithm."""
    recipe = _recipe(config.get("recipe"), config.get("algorithm"))
    return {key for key, value in recipe.items() if key in config and repr(config[key]) == repr(value)}


@lru_cache(maxsize=64)
def _recipe(recipe: object, algorithm: object) -> Flat:
    """A recipe's configuration for an algorithm; empty if this version does not have both."""
    if recipe not in RECIPES or algorithm not in ALGORITHMS:
        return {}
    return flattened(recipe_config(str(recipe), str(algorithm), []).to_dict())


def _has_boundary(*configs: Flat) -> bool:
    """Return whether all of these runs have an order boundary."""
    return all(config["algorithm"] in ALGORITHMS and ALGORITHMS[config["algorithm"]].has_boundary for config in configs)
