"""What a client step will cost, without a model, data or memory for either: the step runs on fake tensors.

Costs depend on shapes alone, so the very code that trains is run under torch's `FakeTensorMode` and metered there:
same bytes, same FLOPs (docs/decisions/0015-memory-budget.md).

`B` examples of a batch.
"""

import dataclasses
from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.nn.functional import cross_entropy

from heron.algorithms import Algorithm
from heron.client.local import Criterion
from heron.costs.client_step import StepCost, local_step, step_cost
from heron.data import ExampleShape
from heron.errors import ConfigError
from heron.split import SplitModel, num_client_modules
from heron.wire.groups import Settings

BuildSplit = Callable[[], SplitModel]
"""Builds a cut network afresh, out of nothing that exists before: it is called under a `FakeTensorMode`."""


def fake_split(build: BuildSplit) -> SplitModel:
    """The cut network with all its shapes and no values.

    Args:
        build: builds it.
    """
    with FakeTensorMode():
        return build()


def plan_step(
    build: BuildSplit,
    algorithm: Algorithm,
    settings: Settings,
    example: ExampleShape,
    criterion: Criterion = cross_entropy,
) -> StepCost:
    """Cost of one client step, equal to what `profile_step` measures, in seconds and next to no memory.

    Args:
        build: builds the cut network.
        algorithm: a row of `ALGORITHMS`.
        settings: how to train; batch, micro-batch, checkpointing and the client's settings count here.
        example: what a batch looks like.
        criterion: mean loss over a batch.

    Raises:
        HeronError: if clients of this algorithm cannot be made with these settings.
    """
    with FakeTensorMode():
        # Not `.to`: torch refuses to swap fake parameters that something still watches.
        with torch.device(settings.device):
            split = build()
        return step_cost(local_step(split, algorithm, settings, example, criterion))


def possible_exact(client: nn.Module, settings: Settings) -> range:
    """Values of `exact` that a client can have; without probes something must be trained exactly.

    Args:
        client: f_c.
        settings: how to train.
    """
    return range(0 if settings.estimator.probes else 1, num_client_modules(client) + 1)


def largest_exact(
    build: BuildSplit,
    algorithm: Algorithm,
    settings: Settings,
    example: ExampleShape,
    criterion: Criterion = cross_entropy,
) -> int:
    """The largest `exact` whose step fits into a budget.

    Args:
        build: builds the cut network.
        algorithm: one with an order boundary.
        settings: how to train, with a `client.memory_budget` and whatever its `exact`.
        example: what a batch looks like.
        criterion: mean loss over a batch.

    Raises:
        ConfigError: if none fits.
    """
    peaks: dict[int, int] = {}
    for exact in reversed(possible_exact(fake_split(build).client, settings)):
        client = dataclasses.replace(settings.client, exact=exact)
        changed = dataclasses.replace(settings, client=client)
        peaks[exact] = plan_step(build, algorithm, changed, example, criterion).peak_memory_bytes
        if peaks[exact] <= settings.client.memory_budget:
            return exact
    raise ConfigError(too_small(settings.client.memory_budget, peaks))


def too_small(budget_bytes: int, peaks: Mapping[int, int]) -> str:
    """What to say of a budget that nothing fits.

    Args:
        budget_bytes: the budget.
        peaks: peak memory by `exact`, each above the budget.
    """
    exact = min(peaks, key=lambda value: (peaks[value], value))
    return (
        f"expected a memory budget of at least {peaks[exact]:,} bytes, the smallest peak of a client step (at "
        f"client.exact={exact}), found {budget_bytes:,}; raise it, lower client.batch_size, set client.micro_batch "
        f"(where there is no BatchNorm), or move split.cut"
    )
