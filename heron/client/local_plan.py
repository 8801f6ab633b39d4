"""What a client is told for a round, and where it stands in one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from heron.arrays import Array
from heron.client.step import StepResult
from heron.wire import Answer
from heron.wire.groups import Smashed
from heron.wire.update_codec import UpdateCodec


@dataclass(frozen=True)
class LocalPlan:
    """What a client does in a round.

    Attributes:
        run_seed: seed of the run.
        batch_size: examples per local step (B), >= 1.
        local_steps: local steps per round (h), >= 1; None for one pass over the client's data.
        upload_period: local steps from one upload to the next (k), >= 1; the first step of a round always uploads;
            None for algorithms that upload no smashed data.
        device: where the client computes.
        codec: how smashed data are written; those of probes stay as they are.
        update_codec: how model tensors travel; None for as they are.
    """

    run_seed: int
    batch_size: int
    local_steps: int | None
    upload_period: int | None
    device: torch.device
    codec: Smashed = field(default_factory=Smashed)
    update_codec: UpdateCodec | None = None


@dataclass(frozen=True)
class ClientData:
    """A client's private examples: positions in a data set that stays where it is.

    Attributes:
        dataset: the data set.
        indices: the client's examples in it, shape (n,).
    """

    dataset: Dataset[tuple[Tensor, ...]]
    indices: np.ndarray


@dataclass(frozen=True)
class Progress:
    """Where a client's coupled round stands between two messages, beside its model and optimiser state.

    With these a process that keeps nothing alive goes on with a round: it makes the step at hand again from its
    beginning, which is deterministic.

    Attributes:
        results: outcomes of the local steps that are over.
        answers: what the Main Server has answered within the step at hand, in order.
        start: tensors as they were received at the beginning of the round, of those whose changes go up; empty where
            none do.
    """

    results: Sequence[StepResult] = ()
    answers: Sequence[Answer] = ()
    start: Mapping[str, Array] = field(default_factory=dict)


BEGINNING = Progress()
