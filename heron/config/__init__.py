"""Typed run configurations: recipes by name, TOML in and out, changes to single keys, and what they build."""

from heron.config.build import build_federation, build_run, recipe_config
from heron.config.changes import settings_with
from heron.config.costs import plan_cost, profile_cost, resolve_budget
from heron.config.overrides import assigned_keys, fingerprint, from_toml, hash_of, override, to_toml
from heron.config.parts import load_splits, use_threads_and_device
from heron.config.problems import check_choice
from heron.config.recipe_parts import PaperCost, Recipe
from heron.config.recipes import RECIPES
from heron.config.run_files import free_folder, read_config, refuse_occupied, write_config
from heron.config.schema import RunConfig
from heron.config.sides import build_clients, build_servers
from heron.config.sizes import parse_bytes
from heron.config.variants import variants_of

__all__ = [
    "RECIPES",
    "PaperCost",
    "Recipe",
    "RunConfig",
    "assigned_keys",
    "build_clients",
    "build_federation",
    "build_run",
    "build_servers",
    "check_choice",
    "fingerprint",
    "free_folder",
    "from_toml",
    "hash_of",
    "load_splits",
    "override",
    "parse_bytes",
    "plan_cost",
    "profile_cost",
    "read_config",
    "recipe_config",
    "refuse_occupied",
    "resolve_budget",
    "settings_with",
    "to_toml",
    "use_threads_and_device",
    "variants_of",
    "write_config",
]
