"""Floating-point operations of a local step, in segments between the tensors it yields, and of the server's answers.

They are counted on fake tensors by the code that trains, as in `plan_step`: no data, little memory.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from heron.algorithms import Algorithm
from heron.arrays import Array
from heron.client.step import Perturbed, StepGenerator
from heron.costs.client_step import local_step
from heron.costs.plan import BuildSplit
from heron.data import ExampleShape
from heron.metering import measure_flops
from heron.seeds import StepKey
from heron.server.main_server import MainServer
from heron.server.setup import ServerSetup
from heron.split.criterion import Criterion
from heron.tensors import as_tensor
from heron.wire import CutGradient, ProbeData, SmashedData
from heron.wire.groups import Settings

_PLACE = (0, 0, 0)


@dataclass(frozen=True)
class StepFlops:
    """Operations of one local step on a full batch; a step on B examples takes B / batch_size of them.

    Attributes:
        client: operations before the first tensor that the step yields, between two of them, and after the last.
        server: operations with each of these tensors; empty if nothing is ever uploaded.
        batch_size: number of examples in a full batch.
    """

    client: tuple[int, ...]
    server: tuple[int, ...]
    batch_size: int


def step_flops(
    build: BuildSplit, algorithm: Algorithm, settings: Settings, example: ExampleShape, criterion: Criterion
) -> StepFlops:
    """Count the operations of a step on both sides of the cut.

    Args:
        build: function that builds the cut network.
        algorithm: a row of `ALGORITHMS`.
        settings: settings of the run.
        example: shapes and dtype of a batch.
        criterion: mean loss over a batch.

    Raises:
        HeronError: if clients of this algorithm cannot be made with these settings.
    """
    with FakeTensorMode():
        # Not `.to`: torch refuses to swap fake parameters that have weak references.
        with torch.device(settings.device):
            split = build()
        client = local_step(split, algorithm, settings, example, criterion)
        # Update rules are elementwise, and elementwise work is not counted, so any rule will do.
        own = replace(settings.server, optimizer="sgd")
        setup = ServerSetup(split, criterion, settings.seed, own, settings.estimator, settings.fed_server)
        server = algorithm.make_main_server(setup)
        step = client.learner.step(client.batch, StepKey(settings.seed, *_PLACE))
        counted = _count(step, server, algorithm, as_tensor(client.batch.labels))
    # Uploads that are trained on again cost the same as new ones.
    return replace(counted, server=tuple(flops * (1 + settings.server.reuse) for flops in counted.server))


def _count(step: StepGenerator, server: MainServer, algorithm: Algorithm, labels: Tensor) -> StepFlops:
    client_flops: list[int] = []
    server_flops: list[int] = []
    answer: Tensor | None = None
    while True:
        parcel: list[Array | Perturbed | None] = []
        client_flops.append(measure_flops(partial(_advance, step, answer, parcel)))
        if not parcel:
            return StepFlops(tuple(client_flops), tuple(server_flops), len(labels))
        handed_over = parcel.pop()
        if handed_over is not None:
            answers: list[Tensor | None] = []
            server_flops.append(measure_flops(partial(_serve, server, algorithm, handed_over, labels, answers)))
            answer = answers.pop()


def _advance(step: StepGenerator, answer: Tensor | None, parcel: list[Array | Perturbed | None]) -> None:
    """Run the step up to the next tensor that it yields, which is put into the parcel; at its end nothing is."""
    try:
        parcel.append(step.send(answer))
    except StopIteration:
        return


def _serve(
    server: MainServer,
    algorithm: Algorithm,
    handed_over: Array | Perturbed,
    labels: Tensor,
    answers: list[Tensor | None],
) -> None:
    """Give the Main Server an upload; its answer is added to the answers."""
    if isinstance(handed_over, Perturbed):
        upload: ProbeData | SmashedData = ProbeData(*_PLACE, handed_over.probe, handed_over.smashed, labels)
    else:
        upload = SmashedData(*_PLACE, handed_over, labels)
    if algorithm.answers is None:
        assert isinstance(upload, SmashedData)  # probes are uploaded for their losses only
        server.train(upload)
        answers.append(None)
        return
    answer = server.answer(upload)
    content: Any = answer.gradient if isinstance(answer, CutGradient) else answer.loss
    answers.append(content)
