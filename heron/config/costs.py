"""Cost of a client step of a configuration, before there is data, and the choice of a memory budget."""

from dataclasses import replace
from functools import lru_cache, partial

from heron.algorithms import ALGORITHMS
from heron.config.parts import use_threads_and_device
from heron.config.schema import RunConfig
from heron.costs.budget import with_boundaries
from heron.costs.client_step import StepCost
from heron.costs.operations import StepFlops, step_flops
from heron.costs.plan import fake_split, largest_exact, plan_step
from heron.costs.profile import ClientCost, profile_step
from heron.engines.fleet import check_fleet, is_fleet
from heron.engines.privacy_refusals import check_private_layers
from heron.engines.refusals import check_optimizer, check_settings
from heron.wire.fleet import Exact, exact_of, with_exact
from heron.wire.groups import Client
from heron.wire.network import Network


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
    # Shapes depend neither on the seed nor on the line: every seed of a comparison has the same answer.
    return with_boundaries(config, lambda own: _exact_that_fits(replace(own, seed=0, link=Network())))


def check_without_data(config: RunConfig) -> None:
    """Refuse a run that would be refused when it starts, as far as neither data nor values of weights tell.

    Args:
        config: the run, whose budget is resolved.

    Raises:
        ConfigError: if settings contradict each other or the algorithm.
        SplitError: if a client's network has layers that privacy cannot be kept with.
    """
    algorithm = ALGORITHMS[config.algorithm]
    if is_fleet(algorithm, config):
        check_fleet(config)
    check_settings(algorithm, config)
    check_optimizer(algorithm, config)
    if config.privacy.is_on:
        _check_private_layers(replace(config, seed=0, algorithm="heron", client=Client()))


def boundaries_of(config: RunConfig) -> dict[Exact, RunConfig]:
    """List the boundaries of a run's clients, each with the configuration of a run whose clients all have it.

    Args:
        config: the run, whose budget is resolved.
    """
    if not is_fleet(ALGORITHMS[config.algorithm], config):
        own: Exact = 0 if config.client.exact == "device" else config.client.exact  # which this algorithm ignores
        return {own: config}
    found = dict.fromkeys(exact_of(config, client_id) for client_id in range(config.clients.total))
    return {exact: with_exact(config, exact) for exact in found}


@lru_cache(maxsize=64)
def _check_private_layers(config: RunConfig) -> None:
    """Refuse the layers of a run's clients; neither the algorithm nor how its clients learn matters."""
    split = fake_split(partial(config.split.build, config.seed, random_weights=True))
    for part in (split.client, split.auxiliary):
        if part is not None:
            check_private_layers(part)


@lru_cache(maxsize=64)
def _exact_that_fits(config: RunConfig) -> Exact:
    build = partial(config.split.build, config.seed, random_weights=True)
    return largest_exact(build, ALGORITHMS[config.algorithm], config, config.data.example, config.split.criterion)


def plan_cost(config: RunConfig) -> StepCost:
    """Compute the cost of one client step of a run, without data and without memory for the network.

    Raises:
        HeronError: if such a run would be refused, as far as that is known without data.
    """
    check_without_data(config)
    build = partial(config.split.build, config.seed, random_weights=True)
    return plan_step(build, ALGORITHMS[config.algorithm], config, config.data.example, config.split.criterion)


def profile_cost(config: RunConfig) -> ClientCost:
    """Measure the cost of one client step of a run on a batch of full size, without data and pre-trained weights.

    Of a fleet it is the cost of the client with the largest peak.

    Raises:
        HeronError: if such a run would be refused, as far as that is known without data.
    """
    use_threads_and_device(config)
    config = resolve_budget(config)
    check_without_data(config)
    costs = [_profile(own) for own in boundaries_of(config).values()]
    return max(costs, key=lambda cost: cost.peak_memory_bytes)


def _profile(config: RunConfig) -> ClientCost:
    split = config.split.build(config.seed, random_weights=True)
    return profile_step(split, ALGORITHMS[config.algorithm], config, config.data.example, config.split.criterion)


@lru_cache(maxsize=64)
def run_flops(config: RunConfig) -> StepFlops:
    """Operations of a client step and of the Main Server's answers, counted once for configurations that are equal."""
    build = partial(config.split.build, config.seed, random_weights=True)
    return step_flops(build, ALGORITHMS[config.algorithm], config, config.data.example, config.split.criterion)
