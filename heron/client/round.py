"""A client's side of a round, for every algorithm and both round protocols."""

from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from heron.arrays import Array
from heron.client.local_plan import BEGINNING, ClientData, LocalPlan, Progress
from heron.client.opening import Opener
from heron.client.step import ClientLearner, ClientState, Perturbed, StepGenerator, StepKey, StepResult
from heron.data import batch_indices, fetch
from heron.seeds import derive_seed
from heron.tensors import as_tensor
from heron.wire import (
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
    pack_upload,
)
from heron.wire.groups import Smashed

ClientRound = Generator[FromClient, Answer | None, ClientState]
BeforeStep = Callable[[Sequence[StepResult]], None]


def client_round(
    learner: ClientLearner,
    broadcast: Broadcast,
    state: Mapping[str, Array],
    data: ClientData,
    plan: LocalPlan,
    max_steps: int | None = None,
    opener: Opener | None = None,
    progress: Progress = BEGINNING,
    before_step: BeforeStep = lambda _: None,
) -> ClientRound:
    """Yields each upload BEFORE that step learns, then one reply; returns the client's state.

    A client that cannot use the broadcast yields a `SnapshotRequest` and nothing else.

    In a coupled round each upload is answered. No variable here holds smashed data across a `yield`, so that a consumer
    that drops its message frees it before the step learns: never more than one z is alive.

    Args:
        learner: the algorithm's client.
        broadcast: the message that opens the round; in a round that is gone on with, its model is the client's own, as
            it was at the beginning of the step at hand.
        state: what the client kept from its last round; or its optimiser state at the beginning of the step at hand.
        data: its examples.
        plan: what to do.
        max_steps: local steps after which the client stops, because it runs out of time; None for no limit.
        progress: where the round stands; uploads whose answers it holds are not yielded again.
        before_step: called before each local step with the outcomes so far.
        opener: makes the model of the broadcast where replies hold scalars.
    """
    round_index, client_id = broadcast.round_index, broadcast.client_id
    model = _opened(broadcast, plan, opener) if progress is BEGINNING else broadcast.model
    if model is None:
        yield SnapshotRequest(round_index, client_id)
        return dict(state)
    model = _tensors(model, plan.device)
    learner.load(model, _tensors(state))  # step 1
    start = _tensors(progress.start, plan.device)
    if plan.update_codec is not None and progress is BEGINNING:
        start = unreplayed(learner, model)
    del model, broadcast  # copied: the client learns in their room
    order_seed = derive_seed("batches", plan.run_seed, client_id, round_index)
    results, answers = list(progress.results), deque(progress.answers)
    batches = batch_indices(len(data.indices), plan.batch_size, plan.local_steps, order_seed)
    for chosen in islice(batches, len(results), None):
        if len(results) == max_steps:
            break
        before_step(results)
        batch = fetch(data.dataset, data.indices[chosen], plan.device)
        key = StepKey(plan.run_seed, round_index, client_id, len(results))
        step = learner.step(batch, key)
        if plan.upload_period is not None and key.local_step % plan.upload_period == 0:
            results.append((yield from _uploading(step, key, as_tensor(batch.labels), plan, answers)))  # step 2
        else:
            next(step)
            results.append(finish(step))
    rest = unreplayed(learner, learner.model())
    if plan.update_codec is not None:
        seed = derive_seed("update rounding", plan.run_seed, round_index, client_id)
        rest = plan.update_codec.pack_update(rest, start, seed)
    yield _reply(learner, (round_index, client_id), len(data.indices), results, rest)  # step 4
    return learner.state()


def _opened(broadcast: Broadcast, plan: LocalPlan, opener: Opener | None) -> Mapping[str, Array] | None:
    """The model that a broadcast holds; None if the client needs a snapshot."""
    model = broadcast.model if opener is None else opener.open(broadcast)
    return model if model is None or plan.update_codec is None else plan.update_codec.unpack_model(model)


def _tensors(arrays: Mapping[str, Array], device: torch.device | None = None) -> dict[str, Tensor]:
    return {name: as_tensor(array, device) for name, array in arrays.items()}


def unreplayed(learner: ClientLearner, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of what the client sends back, those tensors that no scalars tell."""
    replayed = learner.replayed()
    return {name: tensors[name] for name in learner.model() if name not in replayed}


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
    step: StepGenerator, key: StepKey, labels: Tensor, plan: LocalPlan, answers: deque[Answer]
) -> Generator[Upload, Answer | None, StepResult]:
    """Run a step, handing over what it uploads; first come the answers that are there already, which are used up."""
    received: Tensor | None = None
    while True:
        try:
            parcel = [step.send(received)]
        except StopIteration as stop:
            result: StepResult = stop.value
            return result
        if answers:
            answer: Answer | None = answers.popleft()
        else:
            answer = yield _upload(parcel.pop(), key, labels, plan.codec)
        received = None if answer is None else as_tensor(_content(answer), plan.device)


def _upload(handed_over: Tensor | Perturbed | None, key: StepKey, labels: Tensor, codec: Smashed) -> Upload:
    place = (key.round_index, key.client_id, key.local_step)
    if isinstance(handed_over, Perturbed):
        return ProbeData(*place, handed_over.probe, handed_over.smashed, labels)
    assert handed_over is not None  # only algorithms that upload have an upload period
    upload = SmashedData(*place, handed_over, labels)
    return pack_upload(upload, codec, key.seed("smashed codec")) if codec.packs else upload


def _content(answer: Answer) -> Any:
    return answer.gradient if isinstance(answer, CutGradient) else answer.loss


def _reply(
    learner: ClientLearner,
    place: tuple[int, int],
    num_examples: int,
    results: list[StepResult],
    model: dict[str, Tensor],
) -> Reply:
    losses = [result.loss for result in results if result.loss is not None]
    train_loss = torch.stack(losses).mean().float() if losses else torch.tensor(torch.nan)
    facts = (*place, num_examples, len(results), train_loss)
    if not learner.replayed():
        return ClientReply(*facts, model)
    scalars = [result.projected_gradients for result in results if result.projected_gradients is not None]
    return ScalarReply(*facts, torch.cat(scalars) if scalars else torch.zeros(0), model)
