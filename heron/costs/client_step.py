"""One local step of one client, ready to be measured, and its cost in memory, operations and bytes."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from heron.algorithms import Algorithm
from heron.arrays import Array
from heron.client.step import ClientLearner, Perturbed
from heron.client.torch_runtime.network import LocalNetwork
from heron.data import Batch, ExampleShape
from heron.metering import count_forwards, measure_flops, measure_memory
from heron.seeds import StepKey
from heron.split import SplitModel, check_normalisation
from heron.split.criterion import Criterion
from heron.tensors import as_tensor
from heron.wire import smashed_bytes
from heron.wire.groups import Settings, Smashed


@dataclass(frozen=True)
class StepCost:
    """Cost of one local step of one client, as far as it depends on shapes only.

    Attributes:
        algorithm: its name.
        peak_memory_bytes: largest number of live tensor bytes at any instant of the step.
        memory_breakdown_bytes: those bytes by category; they sum to the peak.
        flops_per_step: floating-point operations of matrix products and convolutions (2 per multiply-add), backward
            passes included.
        forwards_per_step: forward passes of the client part, including those that checkpointing repeats; one with
            tangents (`estimator.scheme=jvp`) counts once here, and with all its products in `flops_per_step`.
        smashed_bytes_per_step: bytes of smashed data at the cut layer as the codec writes them, before compression,
            including those of probes that are uploaded.
    """

    algorithm: str
    peak_memory_bytes: int
    memory_breakdown_bytes: dict[str, int]
    flops_per_step: int
    forwards_per_step: int
    smashed_bytes_per_step: int

    def to_dict(self) -> dict[str, Any]:
        """The cost as a dictionary of plain values."""
        return asdict(self)


def zeros(example: ExampleShape, size: int, device: str) -> Batch:
    """Make a batch of zeros; zero is a class, and a token that counts.

    Args:
        example: shapes of one example.
        size: B.
        device: where it is made.
    """
    inputs = torch.zeros(size, *example.inputs, dtype=getattr(torch, example.dtype), device=device)
    dtype = getattr(torch, example.labels_dtype)
    return Batch(inputs, torch.zeros(size, *example.labels, dtype=dtype, device=device))


class ClientStep:
    """A client's local step as a function without arguments.

    Args:
        algorithm: algorithm of the client.
        local: networks of the client, in training mode.
        learner: the client's learning, on `local`.
        batch: B examples.
        settings: settings of the run; only seed and codec matter here.

    Attributes:
        smashed_bytes: bytes of smashed data of the latest step.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        local: LocalNetwork,
        learner: ClientLearner,
        batch: Batch,
        settings: Settings,
    ) -> None:
        self.algorithm = algorithm
        self.local = local
        self.learner = learner
        self.batch = batch
        self.smashed_bytes = 0
        self._seed = settings.seed
        # A server that evaluates probes would refuse any other codec in training.
        self._codec = Smashed() if algorithm.answers == "loss" else settings.smashed

    def __call__(self) -> None:
        """Take the step, the first of the run."""
        step = self.learner.step(self.batch, StepKey(self._seed, 0, 0, 0))
        self.smashed_bytes = 0
        answer: Tensor | None = None
        while True:
            try:
                parcel = [step.send(answer)]
            except StopIteration:
                return
            # The upload is made, as in an engine, before the step learns; the client holds the answer while it learns.
            answer = self._answer(parcel.pop())

    def _answer(self, handed_over: Array | Perturbed | None) -> Tensor | None:
        """Zeros in the shape of the Main Server's answer."""
        if handed_over is None:
            return None
        smashed = as_tensor(handed_over.smashed if isinstance(handed_over, Perturbed) else handed_over)
        self.smashed_bytes += smashed_bytes(smashed.shape, smashed.dtype.itemsize, self._codec)
        if self.algorithm.answers is None:
            return None
        shape = smashed.shape if self.algorithm.answers == "cut_gradient" else ()
        dtype, device = smashed.dtype, smashed.device
        del handed_over, smashed
        return torch.zeros(shape, dtype=dtype, device=device)


def local_step(
    split: SplitModel,
    algorithm: Algorithm,
    settings: Settings,
    example: ExampleShape,
    criterion: Criterion,
) -> ClientStep:
    """Make the local step of a client outside any federation.

    Args:
        split: the cut network, on its device; put into training mode.
        algorithm: a row of `ALGORITHMS`.
        settings: settings of the run; batch, micro-batch, checkpointing and the client's settings matter here.
        example: shapes and dtype of a batch.
        criterion: mean loss over a batch.

    Raises:
        HeronError: if clients of this algorithm cannot be made with these settings.
    """
    split = algorithm.equipped(split, settings, as_tensor(zeros(example, 2, settings.device).inputs)).train()
    runtime, learner = algorithm.torch_client(split, criterion, settings)
    check_normalisation(split, runtime.local.module, settings.client.micro_batch or None)
    return ClientStep(
        algorithm, runtime.local, learner, zeros(example, settings.client.batch_size, settings.device), settings
    )


def step_cost(step: ClientStep) -> StepCost:
    """Measure a step by running it twice.

    Args:
        step: the step; its client trains.

    Returns:
        The cost of the second run.
    """
    module, batch = step.local.module, step.batch
    # Checkpointing calls the layers, not the module that contains them.
    first_layer = next(layer for layer in module["client"].modules() if not list(layer.children()))
    with count_forwards(module["client"]) as forwards, count_forwards(first_layer) as passes:
        flops = measure_flops(step)
    num_pieces = -(-len(batch) // (step.local.micro_batch or len(batch)))
    # The second step is measured, because a first-order client has no optimiser state before its first.
    resident = {kind: list(map(as_tensor, arrays)) for kind, arrays in step.learner.resident().items()}
    memory = measure_memory(
        step,
        parameters=resident["parameters"],
        buffers=resident["buffers"],
        optimizer_state=resident["optimizer_state"],
        inputs=[as_tensor(batch.inputs), as_tensor(batch.labels)],
        modules=[module],
    )
    return StepCost(
        algorithm=step.algorithm.name,
        peak_memory_bytes=memory.peak_bytes,
        memory_breakdown_bytes=memory.breakdown_bytes,
        flops_per_step=flops,
        forwards_per_step=max(forwards.count, passes.count) // num_pieces,
        smashed_bytes_per_step=step.smashed_bytes,
    )
