"""What one local step costs a client, measured: memory with its breakdown, FLOPs, forwards, bytes, time."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from heron.algorithms import Perturbed, StepKey
from heron.data import Batch, fetch
from heron.engines.federation import Federation
from heron.metering import count_forwards, measure_flops, measure_memory, measure_seconds


@dataclass(frozen=True)
class ClientCost:
    """Cost of one local step of one client.

    Attributes:
        algorithm: its name.
        peak_memory_bytes: largest number of live tensor bytes at any instant of the step.
        memory_breakdown_bytes: what those bytes were; sums to the peak.
        flops_per_step: floating-point operations of matrix products and convolutions (2 per multiply-add), backward
            passes included.
        forwards_per_step: forward passes of the client part, those that checkpointing repeats included.
        smashed_bytes_per_step: bytes of smashed data at the cut layer, those of probes that go up included.
        seconds_per_step: median wall time.
    """

    algorithm: str
    peak_memory_bytes: int
    memory_breakdown_bytes: dict[str, int]
    flops_per_step: int
    forwards_per_step: int
    smashed_bytes_per_step: int
    seconds_per_step: float

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self)


class _Step:
    """A client's local step as a function without arguments, on the federation's first client and a full batch."""

    def __init__(self, federation: Federation) -> None:
        self._federation = federation
        self._learner = federation.learner
        federation.split.train()
        federation.load_global_model()
        settings = federation.settings
        # Costs depend on shapes, not on values: a client smaller than a batch is filled up by repetition.
        chosen = np.resize(federation.partition[0], settings.batch_size)
        self.batch: Batch = fetch(federation.dataset, chosen, torch.device(settings.device))
        self.smashed_bytes = 0

    def __call__(self) -> None:
        step = self._learner.step(self.batch, StepKey(self._federation.settings.seed, 0, 0, 0))
        self.smashed_bytes = 0
        answer: Tensor | None = None
        while True:
            try:
                parcel = [step.send(answer)]
            except StopIteration:
                return
            # Handed over, as an engine does before the step learns; the client holds the answer while it does.
            answer = self._answer(parcel.pop())

    def _answer(self, handed_over: Tensor | Perturbed | None) -> Tensor | None:
        """Zeros in the shape of what the Main Server would send back."""
        smashed = handed_over.smashed if isinstance(handed_over, Perturbed) else handed_over
        if smashed is None:
            return None
        self.smashed_bytes += smashed.nbytes
        shape, dtype, device = smashed.shape, smashed.dtype, smashed.device
        del handed_over, smashed
        answers = self._federation.algorithm.answers
        if answers is None:
            return None
        return torch.zeros(shape if answers == "cut_gradient" else (), dtype=dtype, device=device)


def profile_client(federation: Federation, *, repeats: int = 3) -> ClientCost:
    """Measure a client's local step with its real batch size. Trains the resident client; the rest is untouched.

    Args:
        federation: a federation that is not going to be trained afterwards.
        repeats: timed steps; the median counts.
    """
    step = _Step(federation)
    step()  # the optimiser state of a first-order client exists after its first step
    client = federation.local.module["client"]
    resident = federation.learner.resident()
    memory = measure_memory(
        step,
        parameters=resident["parameters"],
        buffers=resident["buffers"],
        optimizer_state=resident["optimizer_state"],
        inputs=[step.batch.inputs, step.batch.labels],
        modules=[federation.local.module],
    )
    # Checkpointing calls the layers, not the module that holds them.
    first_layer = next(module for module in client.modules() if not list(module.children()))
    with count_forwards(client) as forwards, count_forwards(first_layer) as passes:
        step()
    pieces = -(-federation.settings.batch_size // (federation.settings.micro_batch or federation.settings.batch_size))
    return ClientCost(
        algorithm=federation.algorithm.name,
        peak_memory_bytes=memory.peak_bytes,
        memory_breakdown_bytes=memory.breakdown_bytes,
        flops_per_step=measure_flops(step),
        forwards_per_step=max(forwards.count, passes.count) // pieces,
        smashed_bytes_per_step=step.smashed_bytes,
        seconds_per_step=measure_seconds(step, repeats=repeats),
    )
