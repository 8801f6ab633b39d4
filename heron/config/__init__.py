"""Typed run configurations: recipes by name, TOML in and out, changes to single keys, and what they build.

The face imports each name's module when the name is first asked for: to list the recipes takes no torch.
"""

from typing import TYPE_CHECKING

from heron.faces import lazy_face

if TYPE_CHECKING:
    from heron.config.build import build_federation as build_federation
    from heron.config.build import build_run as build_run
    from heron.config.build import compared_config as compared_config
    from heron.config.build import recipe_config as recipe_config
    from heron.config.changes import settings_with as settings_with
    from heron.config.costs import check_without_data as check_without_data
    from heron.config.costs import plan_cost as plan_cost
    from heron.config.costs import profile_cost as profile_cost
    from heron.config.costs import resolve_budget as resolve_budget
    from heron.config.exports import export_clients as export_clients
    from heron.config.overrides import assigned_keys as assigned_keys
    from heron.config.overrides import fingerprint as fingerprint
    from heron.config.overrides import from_toml as from_toml
    from heron.config.overrides import hash_of as hash_of
    from heron.config.overrides import override as override
    from heron.config.overrides import to_toml as to_toml
    from heron.config.parts import load_splits as load_splits
    from heron.config.parts import use_threads_and_device as use_threads_and_device
    from heron.config.problems import check_choice as check_choice
    from heron.config.recipes import RECIPES as RECIPES
    from heron.config.recipes import PaperCost as PaperCost
    from heron.config.recipes import Recipe as Recipe
    from heron.config.run_files import free_folder as free_folder
    from heron.config.run_files import is_folder_of_runs as is_folder_of_runs
    from heron.config.run_files import read_config as read_config
    from heron.config.run_files import refuse_occupied as refuse_occupied
    from heron.config.run_files import replace_config as replace_config
    from heron.config.run_files import with_rounds as with_rounds
    from heron.config.run_files import write_config as write_config
    from heron.config.schema import RunConfig as RunConfig
    from heron.config.sides import build_clients as build_clients
    from heron.config.sides import build_servers as build_servers
    from heron.config.variants import variants_of as variants_of
else:
    __getattr__, __dir__ = lazy_face(
        __name__,
        {
            "PaperCost": "heron.config.recipes",
            "RECIPES": "heron.config.recipes",
            "Recipe": "heron.config.recipes",
            "RunConfig": "heron.config.schema",
            "assigned_keys": "heron.config.overrides",
            "build_clients": "heron.config.sides",
            "build_federation": "heron.config.build",
            "build_run": "heron.config.build",
            "build_servers": "heron.config.sides",
            "check_choice": "heron.config.problems",
            "check_without_data": "heron.config.costs",
            "compared_config": "heron.config.build",
            "export_clients": "heron.config.exports",
            "fingerprint": "heron.config.overrides",
            "free_folder": "heron.config.run_files",
            "from_toml": "heron.config.overrides",
            "hash_of": "heron.config.overrides",
            "is_folder_of_runs": "heron.config.run_files",
            "load_splits": "heron.config.parts",
            "override": "heron.config.overrides",
            "plan_cost": "heron.config.costs",
            "profile_cost": "heron.config.costs",
            "read_config": "heron.config.run_files",
            "recipe_config": "heron.config.build",
            "refuse_occupied": "heron.config.run_files",
            "replace_config": "heron.config.run_files",
            "resolve_budget": "heron.config.costs",
            "settings_with": "heron.config.changes",
            "to_toml": "heron.config.overrides",
            "use_threads_and_device": "heron.config.parts",
            "variants_of": "heron.config.variants",
            "with_rounds": "heron.config.run_files",
            "write_config": "heron.config.run_files",
        },
    )
