"""Costs of a network of a user's own, which is there already and has data with values."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from heron.algorithms import Algorithm
from heron.arrays import dtype_name
from heron.costs.budget import with_boundaries
from heron.costs.plan import largest_exact
from heron.data import Examples, ExampleShape, TokenSequences, fetch, labels_of
from heron.split import SplitModel
from heron.split.criterion import Criterion
from heron.split.fakes import fake_copy
from heron.wire.fleet import Exact
from heron.wire.groups import Settings


def within_budget(
    settings: Settings, algorithm: Algorithm, split: SplitModel, data: Examples, criterion: Criterion
) -> Settings:
    """Return the same settings with `client.exact` in place of the memory budget that chooses it.

    Args:
        settings: settings of the training.
        algorithm: a row of `ALGORITHMS`.
        split: the cut network; not changed.
        data: training examples.
        criterion: mean loss over a batch.

    Raises:
        ConfigError: if nothing fits into the budget.
    """
    if not settings.client.memory_budget or not algorithm.has_boundary:
        return settings
    return with_boundaries(settings, lambda own: _largest(own, algorithm, split, data, criterion))


def _largest(
    settings: Settings, algorithm: Algorithm, split: SplitModel, data: Examples, criterion: Criterion
) -> Exact:
    exact: Exact = on_fakes(largest_exact, settings, algorithm, split, data, criterion)
    return exact


def on_fakes(
    measure: Callable[..., Any],
    settings: Settings,
    algorithm: Algorithm,
    split: SplitModel,
    data: Examples,
    criterion: Criterion,
) -> Any:
    """Measure the cost of a client step on copies of the network that have no values.

    Args:
        measure: function of (how to build the network, algorithm, settings, shape of an example, criterion).
        settings: settings of the training.
        algorithm: a row of `ALGORITHMS`.
        split: the cut network; not changed.
        data: training examples, of which the first one is looked at; of sequences, the longest.
        criterion: mean loss over a batch.
    """
    example = fetch(data, np.zeros(1, dtype=np.int64))
    inputs, labels = tuple(example.inputs.shape[1:]), tuple(example.labels.shape[1:])
    if isinstance(data, TokenSequences):
        inputs = labels = labels_of(data).shape[1:]
    shape = ExampleShape(inputs, labels, dtype_name(example.inputs), dtype_name(example.labels))
    return measure(partial(fake_copy, split), algorithm, settings, shape, criterion)
