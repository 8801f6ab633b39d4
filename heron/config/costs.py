"""Cost of a client step of a configuration, before there is data, and the choice of a memory budget."""

from dataclasses import replace
from functools import lru_cache, partial

from heron.algorithms import ALGORITHMS
from heron.config.parts import use_threads_and_device
from heron.config.schema import RunConfig
from heron.costs.client_step import StepCost
from heron.costs.operations import StepFlops, step_flops
from heron.costs.plan import largest_exact, plan_step
from heron.costs.profile import ClientCost, profile_step


def resolve_budget(config: RunConfig) -> RunConfig:
    """The same run with `client.exact` in place of the budget that chooses it; without a budget, the same object.

    What is saved with a run is the outcome, so that it is the same run on every machine
    (docs/decisions/0015-memory-budget.md).

    Raises:
        ConfigError: if nothing fits into the budget, or the device cannot be used.
    """
    if not config.client.memory_budget or not ALGORITHMS[config.algorithm].has_boundary:
        return config
    use_threads_and_device(config)
    # Shapes do not depend on the seed: every seed of a comparison has the same answer.
    exact = _exact_that_fits(replace(config, seed=0))
    return replace(config, client=replace(config.client, exact=exact, memory_budget=0))


@lru_cache(maxsize=64)
def _exact_that_fits(config: RunConfig) -> int:
    build = partial(config.split.build, config.seed, random_weights=True)
    return largest_exact(build, ALGORITHMS[config.algorithm], config, config.data.example, config.split.criterion)


def plan_cost(config: RunConfig) -> StepCost:
    """Compute the cost of one client step of a run, without data and without memory for the network."""
    build = partial(config.split.build, config.seed, random_weights=True)
    return plan_step(build, ALGORITHMS[config.algorithm], config, config.data.example, config.split.criterion)


def profile_cost(config: RunConfig) -> ClientCost:
    """Measure the cost of one client step of a run on a batch of full size, without data and pre-trained weights."""
    use_threads_and_device(config)
    config = resolve_budget(config)
    split = config.split.build(config.seed, random_weights=True)
    return profile_step(split, ALGORITHMS[config.algorithm], config, config.data.example, config.split.criterion)


@lru_cache(maxsize=64)
def run_flops(config: RunConfig) -> StepFlops:
    """Operations of a client step and of the Main Server's answers, counted once for configurations that are equal."""
    build = partial(config.split.build, config.seed, random_weights=True)
    return step_flops(build, ALGORITHMS[config.algorithm], config, config.data.example, config.split.criterion)
