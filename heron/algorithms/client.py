"""A client's side of a round, for every algorithm and both round protocols."""

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from heron.algorithms.base import ClientLearner, ClientState, Perturbed, StepGenerator, StepKey, StepResult
from heron.algorithms.opening import Opener
from heron.comms import (
    Answer,
    Broadcast,
    ClientReply,
    CutGradient,
    FromClient,
    ProbeData,
    Reply,
    ScalarReply,
    SmashedData,
    SnapshotRequest,
    Upload,
)
from heron.data import batch_indices, fetch
from heron.zo import derive_seed


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
    """

    run_seed: int
    batch_size: int
    local_steps: int | None
    upload_period: int | None
    device: torch.device


@dataclass(frozen=True)
class ClientData:
    """A client's private examples: positions in a data set that stays where it is.

    Attributes:
        dataset: the data set.
        indices: the client's examples in it, shape (n,).
    """

    dataset: Dataset[tuple[Tensor, ...]]
    indices: np.ndarray


ClientRound = Generator[FromClient, Answer | None, ClientState]


def client_round(
    learner: ClientLearner,
    broadcast: Broadcast,
    state: ClientState,
    data: ClientData,
    plan: LocalPlan,
    max_steps: int | None = None,
    opener: Opener | None = None,
) -> ClientRound:
    """Yields each upload BEFORE that step learns, then one reply; returns the client's state.

    A client that cannot use the broadcast yields a `SnapshotRequest` and nothing else.

    In a coupled round each upload is answered. No variable here holds smashed data across a `yield`, so that a consumer
    that drops its message frees it before the step learns: never more than one z is alive.

    Args:
        learner: the algorithm's client.
        broadcast: the message that opens the round.
        state: what the client kept from its last round.
        data: its examples.
        plan: what to do.
        max_steps: local steps after which the client stops, because it runs out of time; None for no limit.
        opener: makes the model of the broadcast where replies hold scalars.
    """
    round_index, client_id = broadcast.round_index, broadcast.client_id
    model = broadcast.model if opener is None else opener.open(broadcast)
    if model is None:
        yield SnapshotRequest(round_index, client_id)
        return state
    learner.load(model, state)  # step 1
    del model, broadcast  # copied: the client learns in their room
    order_seed = derive_seed("batches", plan.run_seed, client_id, round_index)
    results: list[StepResult] = []
    for chosen in batch_indices(len(data.indices), plan.batch_size, plan.local_steps, order_seed):
        if len(results) == max_steps:
            break
        batch = fetch(data.dataset, data.indices[chosen], plan.device)
        key = StepKey(plan.run_seed, round_index, client_id, len(results))
        step = learner.step(batch, key)
        if plan.upload_period is not None and key.local_step % plan.upload_period == 0:
            results.append((yield from _uploading(step, key, batch.labels, plan.device)))  # step 2
        else:
            next(step)
            results.append(finish(step))
    yield _reply(learner, (round_index, client_id), len(data.indices), results)  # step 4
    return learner.state()


def finish(step: StepGenerator, answer: Tensor | None = None) -> StepResult:
    """Run a step that has handed over its first smashed data to its end; what else it hands over is dropped.

    Args:
        step: the step.
        answer: what the Main Server answers every upload with, for algorithms that learn from it.
    """
    while True:
        try:
            step.send(answer)
        except StopIteration as stop:
            result: StepResult = stop.value
            return result


def _uploading(
    step: StepGenerator, key: StepKey, labels: Tensor, device: torch.device
) -> Generator[Upload, Answer | None, StepResult]:
    """Run a step, handing over what it uploads."""
    received: Tensor | None = None
    while True:
        try:
            parcel = [step.send(received)]
        except StopIteration as stop:
            result: StepResult = stop.value
            return result
        answer = yield _upload(parcel.pop(), key, labels)
        received = None if answer is None else _content(answer).to(device)


def _upload(handed_over: Tensor | Perturbed | None, key: StepKey, labels: Tensor) -> Upload:
    place = (key.round_index, key.client_id, key.local_step)
    if isinstance(handed_over, Perturbed):
        return ProbeData(*place, handed_over.probe, handed_over.smashed, labels)
    assert handed_over is not None  # only algorithms that upload have an upload period
    return SmashedData(*place, handed_over, labels)


def _content(answer: Answer) -> Tensor:
    return answer.gradient if isinstance(answer, CutGradient) else answer.loss


def _reply(learner: ClientLearner, place: tuple[int, int], num_examples: int, results: list[StepResult]) -> Reply:
    losses = [result.loss for result in results if result.loss is not None]
    train_loss = torch.stack(losses).mean().float() if losses else torch.tensor(torch.nan)
    facts = (*place, num_examples, len(results), train_loss)
    replayed = learner.replayed()
    if not replayed:
        return ClientReply(*facts, learner.model())
    scalars = [result.projected_gradients for result in results if result.projected_gradients is not None]
    rest = {name: tensor for name, tensor in learner.model().items() if name not in replayed}
    return ScalarReply(*facts, torch.cat(scalars) if scalars else torch.zeros(0), rest)
