"""Typed run configurations: recipes by name, TOML in and out, changes to single keys, and what they build."""

from heron.config.build import (
    build_federation,
    build_run,
    build_split,
    load_splits,
    recipe_config,
    use_threads_and_device,
)
from heron.config.overrides import check_choice, fingerprint, from_toml, override, to_toml
from heron.config.recipes import RECIPES, PaperCost, Recipe
from heron.config.schema import RunConfig

__all__ = [
    "RECIPES",
    "PaperCost",
    "Recipe",
    "RunConfig",
    "build_federation",
    "build_run",
    "build_split",
    "check_choice",
    "fingerprint",
    "from_toml",
    "load_splits",
    "override",
    "recipe_config",
    "to_toml",
    "use_threads_and_device",
]
