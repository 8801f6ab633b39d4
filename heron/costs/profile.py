"""Measured cost of a client's local step: memory with its breakdown, FLOPs, forwards, bytes, time."""

from dataclasses import dataclass

from torch.nn.functional import cross_entropy

from heron.algorithms import Algorithm
from heron.client.local import Criterion
from heron.costs.client_step import ClientStep, StepCost, local_step, step_cost
from heron.data import ExampleShape
from heron.metering import measure_seconds
from heron.split import SplitModel
from heron.wire.groups import Settings

# Total time of timed steps after which no further step is timed.
_ENOUGH_S = 10.0


@dataclass(frozen=True)
class ClientCost(StepCost):
    """Cost of one local step of one client, with its duration.

    Attributes:
        seconds_per_step: median wall time.
    """

    seconds_per_step: float


def profile_step(
    split: SplitModel,
    algorithm: Algorithm,
    settings: Settings,
    example: ExampleShape,
    criterion: Criterion = cross_entropy,
    *,
    repeats: int = 3,
) -> ClientCost:
    """Measure the local step of a client outside any federation, without data.

    Args:
        split: the cut network; moved to the device, trained in place.
        algorithm: a row of `ALGORITHMS`.
        settings: settings of the run.
        example: shapes and dtype of a batch.
        criterion: mean loss over a batch.
        repeats: number of timed steps, >= 1, fewer if they are long; the result is their median.

    Raises:
        HeronError: if clients of this algorithm cannot be made with these settings.
    """
    step = local_step(split.to(settings.device), algorithm, settings, example, criterion)
    return measured_cost(step, repeats)


def measured_cost(step: ClientStep, repeats: int = 3) -> ClientCost:
    """Measure a step: its cost, then its time.

    Args:
        step: the step; its client trains.
        repeats: number of timed steps, >= 1, fewer if they are long; the result is their median.
    """
    cost = step_cost(step)  # its two steps are the warm-up
    seconds = measure_seconds(step, repeats=repeats, warmup=0, enough_s=_ENOUGH_S)
    return ClientCost(**cost.to_dict(), seconds_per_step=seconds)
