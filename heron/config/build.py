"""Builds a run from a configuration."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from heron.algorithms import ALGORITHMS, OTHER_NAMES
from heron.config.changes import settings_with
from heron.config.costs import resolve_budget, run_flops
from heron.config.devices import link_model
from heron.config.overrides import assigned_keys, fingerprint, override
from heron.config.parts import load_splits, use_threads_and_device
from heron.config.problems import check_choice
from heron.config.recipes import RECIPES
from heron.config.schema import RunConfig
from heron.data import Splits, labels_of, partition
from heron.engines.in_process import Federation
from heron.engines.task import check_task
from heron.errors import ConfigError
from heron.runs.run_directory import RunDirectory
from heron.runs.run_loop import Run
from heron.wire.groups import Settings
from heron.wire.network import Network
from heron.wire.privacy import Privacy


def recipe_config(recipe: str, algorithm: str, assignments: list[str]) -> RunConfig:
    """The configuration of a recipe for an algorithm, with changes.

    Args:
        recipe: name of the recipe.
        algorithm: name of the algorithm, or another name that it has.
        assignments: changes, as `key=value`.

    Raises:
        ConfigError: if a name, key or value is not known or not in range.
    """
    check_choice("recipe", recipe, RECIPES)
    algorithm = OTHER_NAMES.get(algorithm, algorithm)
    check_choice("algorithm", algorithm, ALGORITHMS)
    if assigned_keys(assignments) & {"algorithm", "recipe"}:
        raise ConfigError("algorithm and recipe cannot be --set, rates depend on them; give them as arguments")
    return override(RECIPES[recipe].build(algorithm), assignments)


def compared_config(recipe: str, algorithm: str, assignments: list[str]) -> RunConfig:
    """Return the configuration of a row of a comparison.

    The frozen control is without the guarantee that others have: its clients learn nothing that could be noised. Its
    labels are shown as theirs are.

    Args:
        recipe: name of the recipe.
        algorithm: name of the algorithm.
        assignments: changes, as `key=value`, for all rows.

    Raises:
        ConfigError: if a name, key or value is not known or not in range.
    """
    config = recipe_config(recipe, algorithm, assignments)
    if ALGORITHMS[config.algorithm].control != "lower":
        return config
    return replace(config, privacy=Privacy(label_epsilon=config.privacy.label_epsilon))


def build_run(config: RunConfig, directory: Path | None) -> Run[Federation]:
    """Build everything that a run needs.

    Sets torch's number of threads for this process, because results are bit-identical for one value of it.

    Args:
        config: the run.
        directory: run directory; None keeps nothing.

    Returns:
        The run, before `restore` and `train`.

    Raises:
        HeronError: if the data, the partition, the cut or the device does not work out.
    """
    use_threads_and_device(config)
    config = resolve_budget(config)
    splits = load_splits(config)
    return Run(
        build_federation(config, splits),
        splits,
        rounds=config.rounds,
        directory=None if directory is None else RunDirectory(directory),
        fingerprint=fingerprint(config),
        evaluation_period=config.evaluation_period,
    )


def build_federation(config: RunConfig, splits: Splits) -> Federation:
    """All parties of a run in one process, with initial weights that depend on the seed alone.

    Args:
        config: the run.
        splits: its data.
    """
    config = resolve_budget(config)
    algorithm, split = ALGORITHMS[config.algorithm], config.split.build(config.seed).to(config.device)
    check_task(split, algorithm, config.split.criterion, splits, config)
    return Federation(
        split,
        algorithm,
        splits.train,
        client_shares(config, splits),
        settings_with(config, {}),  # what travels are the settings alone
        config.split.criterion,
        link_model(config, lambda own: run_flops(replace(own, seed=0, link=Network()))),
    )


def client_shares(settings: Settings, splits: Splits) -> list[np.ndarray]:
    """Each client's positions in the training data."""
    return partition(
        settings.clients.partition,
        labels_of(splits.train),
        num_clients=settings.clients.total,
        alpha=settings.clients.alpha,
        seed=settings.seed,
        groups=splits.groups,
    )
