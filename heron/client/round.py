"""A client's side of a round, for every algorithm and both round protocols."""

from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from heron.arrays import Array, is_tensor, namespace, to_host
from heron.client.batching import fits_upload, step_positions
from heron.client.given import given_digest
from heron.client.obfuscation import ShownData, obfuscation
from heron.client.opening import Opener
from heron.client.progress import BEGINNING, ClientData, Progress
from heron.client.step import ClientLearner, ClientState, Perturbed, StepGenerator, StepResult
from heron.errors import TrainingError
from heron.privacy.vault import Vault
from heron.seeds import StepKey, derive_seed
from heron.wire.candidates import binned
from heron.wire.groups import Probes, Smashed
from heron.wire.messages import (
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
from heron.wire.smashed import pack_upload
from heron.wire.terms import Terms
from heron.wire.update_codec import UpdateCodec

ClientRound = Generator[FromClient, Answer | None, ClientState]
BeforeStep = Callable[[Sequence[StepResult]], None]


def client_round(
    learner: ClientLearner,
    terms: Terms,
    broadcast: Broadcast,
    state: Mapping[str, Array],
    data: ClientData,
    *,
    max_steps: int | None = None,
    opener: Opener | None = None,
    progress: Progress = BEGINNING,
    before_step: BeforeStep = lambda _: None,
    vault: Vault | None = None,
) -> ClientRound:
    """Yield each upload BEFORE that step learns, then one reply; return the client's state.

    A client that cannot use the broadcast yields a `SnapshotRequest` and nothing else.

    In a coupled round each upload is answered. No variable here holds smashed data across a `yield`, so that a consumer
    that drops its message frees it before the step learns: never more than one z is alive.

    Args:
        learner: the algorithm's client.
        terms: of the run.
        broadcast: the message that opens the round; in a round that continues, its model is the client's own at the
            beginning of the present step.
        state: what the client kept from its last round; or its optimiser state at the beginning of the present step.
        data: its examples.
        max_steps: local steps after which the client stops, because it runs out of time; None for no limit.
        progress: the round's state so far; uploads whose answers it holds are not yielded again.
        before_step: called before each local step with the outcomes so far.
        opener: makes the model of the broadcast where replies hold scalars.
        vault: keeps the secret that private batches, labels and noise on smashed data are drawn from.
    """
    round_index, client_id = broadcast.round_index, broadcast.client_id
    settings, codec, veil = terms.settings, UpdateCodec.of(terms), obfuscation(terms, vault)
    model = _opened(broadcast, codec, opener) if progress is BEGINNING else broadcast.model
    if model is None:
        yield SnapshotRequest(round_index, client_id)
        return state
    if vault is not None and settings.privacy.is_on:
        place = (round_index, client_id)
        vault.open_round(*place, partial(given_digest, terms, place, model, state, len(data)))
    learner.load(model, state)  # step 1
    start = {name: learner.receive(array) for name, array in progress.start.items()}
    if codec is not None and progress is BEGINNING:
        start = {name: learner.receive(model[name]) for name in terms.sent_back}
    data = data if veil is None else ShownData(data, veil, client_id)
    constants = {name: model[name] for name in terms.names("constant")}
    del model, broadcast  # copied: the client learns in their room
    results, answers = list(progress.results), deque(progress.answers)
    batches = step_positions(terms, vault, len(data), round_index, client_id)
    for chosen in islice(batches, len(results), None):
        if len(results) == max_steps:
            break
        before_step(results)
        key = StepKey(settings.seed, round_index, client_id, len(results))
        batch = data.batch(chosen, key.seed("examples"))
        step = learner.step(batch, key)
        uploads = terms.upload_period is not None and key.local_step % terms.upload_period == 0
        if uploads and fits_upload(terms, len(chosen)):
            veiled = None if veil is None else partial(veil.smashed, client_id=client_id, positions_B=chosen)
            upload = partial(_upload, key=key, labels=batch.labels, codec=settings.smashed, veiled=veiled)
            results.append((yield from _uploading(step, upload, answers, learner.receive)))  # step 2
        else:
            next(step)
            results.append(finish(step))
    model = learner.model()
    _check_constants(constants, model)
    rest = {name: model[name] for name in terms.sent_back}
    if codec is not None:
        seed = derive_seed("update rounding", settings.seed, round_index, client_id)
        rest = codec.pack_update(rest, start, seed)
    told = _told(terms, len(data))
    yield _reply(learner, (round_index, client_id), told, results, rest, settings.estimator)  # step 4
    return learner.state()


def _told(terms: Terms, num_examples: int) -> int:
    """Return the number of examples that a reply tells; a private one tells none, since nothing of it is noised."""
    return 1 if terms.settings.privacy.is_on else num_examples


def _opened(broadcast: Broadcast, codec: UpdateCodec | None, opener: Opener | None) -> Mapping[str, Array] | None:
    """Make the model that a broadcast stands for; None if the client needs a snapshot."""
    model = broadcast.model if opener is None else opener.open(broadcast)
    return model if model is None or codec is None else codec.unpack_model(model)


def _check_constants(constants: Mapping[str, Array], model: Mapping[str, Array]) -> None:
    """Refuse a change of what was agreed to be constant: no server would see it.

    Raises:
        TrainingError: naming the buffer.
    """
    for name, array in constants.items():
        if to_host(array).tobytes() != to_host(model[name]).tobytes():
            raise TrainingError(
                f"expected the buffer {name!r} to stay as it is, as in the first training pass, found that a later one "
                f"changes it; let every training pass change it, so that its mean is taken, or none"
            )


def finish(step: StepGenerator, answer: Array | None = None) -> StepResult:
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
    step: StepGenerator,
    upload: Callable[[Array | Perturbed | None], Upload],
    answers: deque[Answer],
    receive: Callable[[Array], Array],
) -> Generator[Upload, Answer | None, StepResult]:
    """Run a step, handing over what it uploads; first come the answers that are there already, which are used up."""
    received: Array | None = None
    while True:
        try:
            parcel = [step.send(received)]
        except StopIteration as stop:
            result: StepResult = stop.value
            return result
        if answers:
            answer: Answer | None = answers.popleft()
        else:
            answer = yield upload(parcel.pop())
        received = None if answer is None else receive(_content(answer))


def _upload(
    handed_over: Array | Perturbed | None,
    key: StepKey,
    labels: Array,
    codec: Smashed,
    veiled: Callable[[Array], Array] | None,
) -> Upload:
    place = (key.round_index, key.client_id, key.local_step)
    if isinstance(handed_over, Perturbed):
        return ProbeData(*place, handed_over.probe, handed_over.smashed, labels)
    assert handed_over is not None  # only algorithms that upload have an upload period
    upload = SmashedData(*place, handed_over if veiled is None else veiled(handed_over), labels)
    return pack_upload(upload, codec, key.seed("smashed codec")) if codec.packs else upload


def _content(answer: Answer) -> Any:
    return answer.gradient if isinstance(answer, CutGradient) else answer.loss


def _reply(
    learner: ClientLearner,
    place: tuple[int, int],
    num_examples: int,
    results: list[StepResult],
    model: dict[str, Array],
    probes: Probes,
) -> Reply:
    losses = [result.loss for result in results if result.loss is not None]
    facts = (*place, num_examples, len(results), _mean(losses))
    if not learner.replayed():
        return ClientReply(*facts, model)
    scalars = [result.projected_gradients for result in results if result.projected_gradients is not None]
    joined = namespace(scalars[0]).concat(scalars) if scalars else np.zeros(0, np.float32)
    drawn = [number for result in results for number in result.candidates or ()]
    if drawn:
        joined = binned(joined, drawn, probes)
    return ScalarReply(*facts, joined, model)


def _mean(losses: list[Array]) -> Array:
    """Mean of losses, shape (), float32; NaN where there are none."""
    if not losses:
        return np.array(np.nan, np.float32)
    mean: Any = namespace(losses[0]).stack(losses).mean()
    return mean.float() if is_tensor(mean) else np.array(mean, np.float32)
