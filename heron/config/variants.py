"""Alternatives for a run's clients within a memory: other boundaries, micro-batches, checkpointing and cuts."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

from heron.algorithms import ALGORITHMS, CONTROLS
from heron.config.costs import check_without_data, plan_cost
from heron.config.schema import RunConfig
from heron.costs.plan import fake_split, possible_exact
from heron.errors import ConfigError, HeronError, SplitError
from heron.split import SplitModel, has_batchnorm

if TYPE_CHECKING:
    from heron.wire.groups import LearningName

# Cut layers shown on either side of the run's own.
_NEIGHBOURS = 4
# The smallest micro-batch shown is an eighth of the batch.
_HALVINGS = 3


def variants_of(config: RunConfig) -> Iterator[RunConfig]:
    """The run with every order boundary; with smaller micro-batches, checkpointing, layer groups, other cuts; others.

    Variants that `heron train` would refuse are left out.

    Args:
        config: the run; its algorithm has an order boundary.

    Yields:
        Configurations, the run's own cut, micro-batch and checkpointing first.

    Raises:
        SplitError: if the network cannot be cut as the run has it.
        ConfigError: if the run with none of its boundaries could be trained, with the reason of the first.
    """
    split = fake_split(partial(config.split.build, config.seed, random_weights=True))
    own = [_with_client(config, exact=exact) for exact in possible_exact(split, ALGORITHMS[config.algorithm], config)]
    reasons = [reason for reason in map(_refusal, own) if reason is not None]
    if len(reasons) == len(own):
        raise reasons[0]
    yield from (variant for variant in _all_variants(config, split) if _refusal(variant) is None)


def _all_variants(config: RunConfig, split: SplitModel) -> Iterator[RunConfig]:
    for micro_batch, checkpointing in product(_micro_batches(config, split), (False, True)):
        for exact in possible_exact(split, ALGORITHMS[config.algorithm], config):
            # Neither a client without an exact part nor one with an exact head alone keeps activations to recompute.
            if exact > 1 or checkpointing == config.client.checkpointing:
                yield _with_client(config, exact=exact, micro_batch=micro_batch, checkpointing=checkpointing)
    yield from _layer_local(config)
    network: Any = config.split
    for cut in config.split.neighbours(_NEIGHBOURS):
        moved = replace(config, split=replace(network, cut=cut))
        try:
            other = fake_split(partial(moved.split.build, config.seed, random_weights=True))
        except SplitError:  # what the model refuses is no alternative
            continue
        possible = possible_exact(other, ALGORITHMS[config.algorithm], config)
        yield from (_with_client(moved, exact=exact) for exact in possible)
    yield from (replace(config, algorithm=name) for name in CONTROLS.values())


def _refusal(config: RunConfig) -> HeronError | None:
    """Return the reason for which a run would be refused; None if nothing speaks against it without data."""
    try:
        check_without_data(config)
    except HeronError as error:
        return error
    return None


def _layer_local(config: RunConfig) -> Iterator[RunConfig]:
    """The same client in layer groups, each with a loss of its own, where the network can have them."""
    learnings: list[tuple[LearningName, int]] = [
        ("local_zeroth_order", 0),
        ("local_zeroth_order", 1),
        ("local_exact", 0),
    ]
    for learning, exact in learnings:
        local = _with_client(config, learning=learning, exact=exact)
        try:
            plan_cost(local)
        except ConfigError:
            continue
        except SplitError:  # no row of scores for each example
            return
        if local != config:
            yield local


def _micro_batches(config: RunConfig, split: SplitModel) -> list[int]:
    """The run's own first; where examples are coupled no other."""
    own = config.client.micro_batch
    if has_batchnorm(split.client) or (split.auxiliary is not None and has_batchnorm(split.auxiliary)):
        return [own]
    halves = [config.client.batch_size >> count for count in range(1, _HALVINGS + 1)]
    return list(dict.fromkeys([own, 0, *(half for half in halves if half)]))


def _with_client(config: RunConfig, **changes: Any) -> RunConfig:
    return replace(config, client=replace(config.client, **changes))
