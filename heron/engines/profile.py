"""What one local step costs a client, measured: memory with its breakdown, FLOPs, forwards, bytes, time."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from heron.algorithms import Algorithm, Criterion
from heron.data import Batch, fetch
from heron.engines.client_step import ClientStep, ExampleShape, StepCost, local_step, step_cost
from heron.engines.federation import Federation
from heron.engines.settings import FederationSettings
from heron.metering import measure_seconds
from heron.split import SplitModel

# Timed steps that have taken so long together are enough.
_ENOUGH_S = 10.0


@dataclass(frozen=True)
class ClientCost(StepCost):
    """Cost of one local step of one client, with the time it takes.

    Attributes:
        seconds_per_step: median wall time.
    """

    seconds_per_step: float


def profile_step(
    split: SplitModel,
    algorithm: Algorithm,
    settings: FederationSettings,
    example: ExampleShape,
    criterion: Criterion = cross_entropy,
    *,
    repeats: int = 3,
) -> ClientCost:
    """Measure the local step of a client that there is no federation around, and no data.

    Args:
        split: the cut network; moved to the device, trained in place.
        algorithm: a row of `ALGORITHMS`.
        settings: how to train.
        example: what a batch looks like.
        criterion: mean loss over a batch.
        repeats: timed steps, >= 1, fewer where they are long; the median counts.

    Raises:
        HeronError: if clients of this algorithm cannot be made with these settings.
    """
    step = local_step(split.to(settings.device), algorithm, settings, example, criterion)
    return _measured(step, repeats)


def profile_client(federation: Federation, *, repeats: int = 3) -> ClientCost:
    """Measure a client's local step with its real batch size. Trains the resident client; the rest is untouched.

    Args:
        federation: a federation that is not going to be trained afterwards.
        repeats: timed steps, >= 1, fewer where they are long; the median counts.
    """
    federation.split.train()
    federation.load_global_model()
    step = ClientStep(
        federation.algorithm, federation.local, federation.learner, _full_batch(federation), federation.settings
    )
    return _measured(step, repeats)


def _measured(step: ClientStep, repeats: int) -> ClientCost:
    cost = step_cost(step)  # its two steps are the warm-up
    seconds = measure_seconds(step, repeats=repeats, warmup=0, enough_s=_ENOUGH_S)
    return ClientCost(**cost.to_dict(), seconds_per_step=seconds)


def _full_batch(federation: Federation) -> Batch:
    """A batch of the first client; one smaller than a batch is filled up: costs depend on shapes, not on values."""
    settings = federation.settings
    chosen = np.resize(federation.partition[0], settings.batch_size)
    return fetch(federation.dataset, chosen, torch.device(settings.device))
