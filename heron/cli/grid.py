"""The grid of `heron compare`: algorithms x varied values x seeds, checked and expanded before anything is written."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any
from urllib.parse import quote

from heron.analysis import value_text
from heron.config import RunConfig, assigned_keys, compared_config, recipe_config, resolve_budget
from heron.config.likeness import flattened
from heron.errors import ConfigError

_MAX_RUNS = 10_000
_MAX_NAME_BYTES = 255  # limit of a file name on all common file systems
# Keys of the configuration that have an argument of their own on the command line.
_OWN_ARGUMENT = {"algorithm": "--algorithms", "recipe": "the first argument", "seed": "--seeds"}


@dataclass(frozen=True)
class Cell:
    """One row of the comparison: an algorithm with one choice of the varied values.

    Attributes:
        algorithm: its name.
        settings: value of each varied key, in the order given; empty without `--vary`.
        configs: complete configuration of each seed.
    """

    algorithm: str
    settings: Mapping[str, Any]
    configs: Mapping[int, RunConfig]

    @property
    def config(self) -> Mapping[str, Any]:
        """Configuration by dotted key, that of the first seed."""
        return flattened(next(iter(self.configs.values())).to_dict())

    @property
    def folder(self) -> Path:
        """Folder of its runs in that of the comparison: ALGORITHM or ALGORITHM/KEY=VALUE,KEY=VALUE."""
        # Quoted values contain no `/`, `,` or `=`, so different settings have different folders.
        name = ",".join(f"{key}={quote(value_text(value), safe='')}" for key, value in self.settings.items())
        return Path(self.algorithm, name)


@dataclass(frozen=True)
class Grid:
    """A grid: all cells, and the values of each varied key.

    Attributes:
        vary: values of each varied key, as typed by the configuration.
        cells: one algorithm after the other; the last varied key changes fastest.
    """

    vary: Mapping[str, list[Any]]
    cells: Sequence[Cell]


def expand_grid(
    recipe: str, algorithms: Sequence[str], seeds: Sequence[int], assignments: Sequence[str], vary: Sequence[str]
) -> Grid:
    """Expand every combination of algorithm, varied values and seed into a validated configuration.

    Args:
        recipe: name of the recipe.
        algorithms: names of the algorithms.
        seeds: seeds, one run each.
        assignments: `key=value` pairs for all runs.
        vary: `key=value,value` for each varied key.

    Raises:
        ConfigError: if the grid is too large, or a name, key or value is wrong or given twice.
    """
    texts = _parse(vary, assignments)
    num_runs = len(algorithms) * len(seeds) * math.prod(len(choices) for choices in texts.values())
    if num_runs > _MAX_RUNS:
        raise ConfigError(f"expected a grid of at most {_MAX_RUNS:,} runs, found {num_runs:,}; vary fewer values")
    values = {key: _values(recipe, algorithms[0], assignments, key, choices) for key, choices in texts.items()}
    cells = []
    for algorithm, *chosen in itertools.product(
        algorithms, *(zip(texts[key], values[key], strict=True) for key in texts)
    ):
        settings = {key: value for key, (_, value) in zip(texts, chosen, strict=True)}
        words = [*assignments, *(f"{key}={text}" for key, (text, _) in zip(texts, chosen, strict=True))]
        requested = {seed: compared_config(recipe, algorithm, [*words, f"seed={seed}"]) for seed in seeds}
        configs = {seed: resolve_budget(config) for seed, config in requested.items()}
        cells.append(Cell(configs[seeds[0]].algorithm, settings, configs))
    if len({cell.folder for cell in cells}) < len(cells):
        raise ConfigError(f"expected different algorithms, found one under two names in {', '.join(algorithms)}")
    longest = max((cell.folder.name for cell in cells), key=lambda name: len(name.encode()))
    if len(longest.encode()) > _MAX_NAME_BYTES:
        raise ConfigError(f"the folder {longest[:40]}... would have more than {_MAX_NAME_BYTES} bytes; vary fewer keys")
    return Grid(values, cells)


def _parse(vary: Sequence[str], assignments: Sequence[str]) -> dict[str, list[str]]:
    """Texts of each varied key, not validated yet."""
    fixed = assigned_keys(assignments)
    texts: dict[str, list[str]] = {}
    for word in vary:
        key, _, listed = (part.strip() for part in word.partition("="))
        choices = [text.strip() for text in listed.split(",")]
        if not key or not all(choices):
            raise ConfigError(f"expected --vary key=value,value,... and no empty value, found {word!r}")
        if key in _OWN_ARGUMENT:
            raise ConfigError(f"{key} cannot be --vary; give it by {_OWN_ARGUMENT[key]}")
        if key in texts:
            raise ConfigError(f"--vary {key} is given twice; list all its values in one")
        if key in fixed:
            raise ConfigError(f"{key} is given by --set and by --vary; drop one")
        texts[key] = choices
    return texts


def _values(recipe: str, algorithm: str, assignments: Sequence[str], key: str, texts: Sequence[str]) -> list[Any]:
    """Values of the texts, as the configuration reads them; equal values are refused even if written differently."""
    values: list[Any] = []
    for text in texts:
        config = recipe_config(recipe, algorithm, [*assignments, f"{key}={text}"])
        value = reduce(getattr, key.split("."), config)
        if value in values:
            twin = texts[values.index(value)]
            raise ConfigError(f"--vary {key}: expected different values, found {twin} and {text}; drop one")
        values.append(value)
    return values
