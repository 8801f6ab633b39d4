"""Views of untrained or little trained runs, for tests."""

from functools import cache

from heron.algorithms import ALGORITHMS
from heron.audit import View, make_view
from heron.config import RunConfig, build_federation, load_splits, recipe_config


def view_of(config: RunConfig, rounds: int = 0, examples: int = 64) -> View:
    """Train a run for some rounds and look at it."""
    splits = load_splits(config)
    federation = build_federation(config, splits)
    for _ in range(rounds):
        federation.run_round()
    return make_view(
        federation.load_global_model(),
        ALGORITHMS[config.algorithm],
        config,
        splits,
        criterion=config.split.criterion,
        federation=lambda: build_federation(config, splits),
        examples=examples,
    )


@cache
def digits_view(*changes: str, algorithm: str = "heron", rounds: int = 0) -> View:
    """View of the recipe `digits-published` with changes."""
    return view_of(recipe_config("digits-published", algorithm, [*changes]), rounds)
