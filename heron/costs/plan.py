"""Cost of a client step without a model, data or memory for either: the step runs on fake tensors.

Costs depend on shapes only, so the same code that trains runs under torch's `FakeTensorMode` and is metered there:
same bytes, same FLOPs (docs/decisions/0015-memory-budget.md).

`B` examples of a batch.
"""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch._subclasses import FakeTensorMode
from torch.nn.functional import cross_entropy

from heron.algorithms import Algorithm
from heron.costs.client_step import StepCost, local_step, step_cost
from heron.data import ExampleShape
from heron.errors import ConfigError
from heron.split import SplitModel, num_client_modules
from heron.split.criterion import Criterion
from heron.wire.fleet import Exact, with_exact
from heron.wire.groups import Settings

BuildSplit = Callable[[], SplitModel]
"""Function that builds a new cut network and uses no existing tensors, because it runs under a `FakeTensorMode`."""


def fake_split(build: BuildSplit) -> SplitModel:
    """Build the cut network with all its shapes but without values.

    Args:
        build: function that builds it.
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
    """Cost of one client step, equal to the result of `profile_step`, in seconds and with little memory.

    Args:
        build: function that builds the cut network.
        algorithm: a row of `ALGORITHMS`.
        settings: settings of the run; batch, micro-batch, checkpointing and the client's settings matter here.
        example: shapes and dtype of a batch.
        criterion: mean loss over a batch.

    Raises:
        HeronError: if clients of this algorithm cannot be made with these settings.
    """
    with FakeTensorMode():
        # Not `.to`: torch refuses to swap fake parameters that have weak references.
        with torch.device(settings.device):
            split = build()
        return step_cost(local_step(split, algorithm, settings, example, criterion))


def possible_exact(split: SplitModel, algorithm: Algorithm, settings: Settings) -> range:
    """Values of `exact` that a client can have; without probes at least one module is trained exactly.

    With privacy it is the head at most, because gradients of other modules are not clipped.

    Args:
        split: the cut network.
        algorithm: one with an order boundary.
        settings: settings of the run.
    """
    rest = split.server if algorithm.head == "server" else None
    most = 1 if settings.privacy.is_on else num_client_modules(split.client, rest)
    return range(0 if settings.estimator.probes else 1, most + 1)


def largest_exact(
    build: BuildSplit,
    algorithm: Algorithm,
    settings: Settings,
    example: ExampleShape,
    criterion: Criterion = cross_entropy,
) -> Exact:
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
    budget = settings.client.memory_budget
    assert isinstance(budget, int)  # of one class of devices
    peaks: dict[Exact, int] = {}
    for exact in _from_largest(build, algorithm, settings):
        changed = with_exact(settings, exact)
        peaks[exact] = plan_step(build, algorithm, changed, example, criterion).peak_memory_bytes
        if peaks[exact] <= budget:
            return exact
    raise ConfigError(too_small(budget, peaks))


def _from_largest(build: BuildSplit, algorithm: Algorithm, settings: Settings) -> Iterator[Exact]:
    """Yield the boundaries to try; of clients of layer groups all exact, exact heads, and none.

    With privacy exact heads of groups that probe are left out.
    """
    if algorithm.orders(algorithm.learning(settings)).groups is None:
        yield from reversed(possible_exact(fake_split(build), algorithm, settings))
        return
    if settings.client.learning != "local_zeroth_order":
        raise ConfigError(
            f"expected client.memory_budget=0 with client.learning={settings.client.learning}, found "
            f"{settings.client.memory_budget}: it leaves a budget nothing to choose; leave it out, or set "
            f"client.learning=local_zeroth_order, which goes up to local_exact"
        )
    yield "all"
    if not settings.privacy.is_on:
        yield 1
    if settings.estimator.probes:
        yield 0


def too_small(budget_bytes: int, peaks: Mapping[Exact, int]) -> str:
    """Message for a budget that is too small for every value of `exact`.

    Args:
        budget_bytes: the budget.
        peaks: peak memory by `exact`, each above the budget.
    """
    exact = min(peaks, key=lambda value: (peaks[value], str(value)))
    return (
        f"expected a memory budget of at least {peaks[exact]:,} bytes, the smallest peak of a client step (at "
        f"client.exact={exact}), found {budget_bytes:,}; raise it, lower client.batch_size, set client.micro_batch "
        f"(if there is no BatchNorm), or move split.cut"
    )
