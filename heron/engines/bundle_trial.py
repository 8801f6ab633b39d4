"""A trial of a bundle on this device: a few steps on its data, measured; nothing is sent and nothing kept."""

import math
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from heron.algorithms import ALGORITHMS
from heron.arrays import to_host
from heron.client.onnx_runtime.bundle import Bundle
from heron.client.onnx_runtime.runtime import OnnxRuntime
from heron.client.round import ClientRound, client_round
from heron.data.arrays_file import ArrayExamples
from heron.engines.bundle_clients import fitting
from heron.wire import (
    Answer,
    CutGradient,
    FromClient,
    LossAnswer,
    ModelBroadcast,
    PackedData,
    Reply,
    Upload,
    encoded_sizes,
    unpack_upload,
)


@dataclass(frozen=True)
class Trial:
    """Outcome of a trial.

    Attributes:
        num_parameters: learning parameters.
        num_examples: in the data.
        step_s: median time of a local step, in seconds.
        peak_memory_bytes: largest resident memory of this process so far; None where the system does not tell.
        upload_bytes: encoded size of one upload of smashed data; 0 if there are none.
        reply_bytes: encoded size of a reply.
        loss: of the first step; None for clients without one, or that keep it to themselves.
    """

    num_parameters: int
    num_examples: int
    step_s: float
    peak_memory_bytes: int | None
    upload_bytes: int
    reply_bytes: int
    loss: float | None


def try_bundle(bundle: Bundle, examples: ArrayExamples, *, steps: int = 5) -> Trial:
    """Run one round of a few steps.

    Args:
        bundle: the client.
        examples: of the device, all of which are looked at.
        steps: local steps, >= 1.

    Raises:
        DataError: if the examples do not fit.
        HeronError: if the client cannot learn.
    """
    terms, manifest = bundle.terms, bundle.manifest
    data = fitting(bundle, terms, examples)
    algorithm = ALGORITHMS[manifest.algorithm]
    runtime = OnnxRuntime(bundle, terms.settings.client, threads=terms.settings.threads)
    learning = algorithm.trial_learning(terms.settings)
    learner = algorithm.client(runtime, learning)
    # A network of zeros has no gradient, and its steps take as long as any.
    generator = np.random.default_rng(0)
    arrays = (*manifest.probed, *manifest.trained, *manifest.buffers)
    model = {array.name: generator.standard_normal(array.shape).astype(array.dtype) * 0.05 for array in arrays}
    times: list[float] = []
    conversation = client_round(
        learner,
        terms,
        ModelBroadcast(0, 0, model),
        {},
        data,
        max_steps=steps,
        before_step=lambda _: times.append(time.perf_counter()),
        vault=learning.vault,
    )
    messages = _held_through(conversation, algorithm.answers)
    times.append(time.perf_counter())
    *uploads, reply = messages
    assert isinstance(reply, Reply)  # a client that was sent a model replies
    loss = float(np.asarray(reply.train_loss))
    return Trial(
        num_parameters=sum(math.prod(array.shape) for array in (*manifest.probed, *manifest.trained)),
        num_examples=len(data),
        step_s=float(statistics.median(np.diff(times))),
        peak_memory_bytes=peak_memory(),
        upload_bytes=sum(encoded_sizes(uploads[0]).values()) if uploads else 0,
        reply_bytes=sum(encoded_sizes(reply).values()),
        # A server's answer is made up here.
        loss=None if math.isnan(loss) or algorithm.answers is not None else loss,
    )


def peak_memory() -> int | None:
    """Largest resident memory of this process so far, in bytes; None where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), None)


def _held_through(conversation: ClientRound, answers: str | None) -> list[FromClient]:
    """Run a round to its end; a client that waits for an answer to each upload is sent one of ones.

    Args:
        conversation: the client's.
        answers: what a Main Server would send back, as of `heron.algorithms.Algorithm`.
    """
    messages: list[FromClient] = []
    answer: Answer | None = None
    while True:
        try:
            message = conversation.send(answer)
        except StopIteration:
            return messages
        messages.append(message)
        answer = _answer(message, answers)


def _answer(message: FromClient, answers: str | None) -> Answer | None:
    if answers is None or not isinstance(message, Upload):
        return None
    place = (message.round_index, message.client_id, message.local_step)
    if answers == "loss":
        return LossAnswer(*place, np.float32(1))
    upload = unpack_upload(message) if isinstance(message, PackedData) else message
    return CutGradient(*place, np.ones_like(to_host(upload.smashed)))
