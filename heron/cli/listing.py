"""`heron recipes` and `heron algorithms`: lists with one line per entry."""

import sys

from heron.config.recipes import RECIPES


def list_recipes() -> None:
    """Print one line per recipe."""
    _print({name: recipe.summary for name, recipe in RECIPES.items()})


def show_recipe(name: str) -> None:
    """Print a complete recipe as TOML, with every key that `--set` accepts."""
    from heron.config import recipe_config, to_toml

    sys.stdout.write(to_toml(recipe_config(name, "heron", [])))


def list_algorithms() -> None:
    """Print one line per algorithm, with its source."""
    from heron.algorithms import ALGORITHMS, OTHER_NAMES

    lines = {name: f"{algorithm.summary} [{algorithm.citation}]" for name, algorithm in ALGORITHMS.items()}
    _print(lines | {other: f"another name of {name}" for other, name in OTHER_NAMES.items()})


def _print(lines: dict[str, str]) -> None:
    width = max(map(len, lines))
    for name, text in lines.items():
        sys.stdout.write(f"{name:{width}}  {text}\n")
