"""A client's side of a round, for every algorithm and both round protocols."""

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from heron.algorithms.base import ClientLearner, ClientState, StepGenerator, StepKey, StepResult
from heron.comms import ClientReply, CutGradient, ModelBroadcast, SmashedData
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


ClientRound = Generator[SmashedData | ClientReply, CutGradient | None, ClientState]


def client_round(
    learner: ClientLearner,
    broadcast: ModelBroadcast,
    state: ClientState,
    data: ClientData,
    plan: LocalPlan,
    max_steps: int | None = None,
) -> ClientRound:
    """Yields each upload BEFORE that step learns, then one reply; returns the client's state.

    In a coupled round each upload is answered by its cut gradient. No variable here holds smashed data across a
    `yield`, so that a consumer that drops its message frees it before the step learns: never more than one z is alive.

    Args:
        learner: the algorithm's client.
        broadcast: the message that opens the round.
        state: what the client kept from its last round.
        data: its examples.
        plan: what to do.
        max_steps: local steps after which the client stops, because it runs out of time; None for no limit.
    """
    learner.load(broadcast.model, state)  # step 1
    round_index, client_id = broadcast.round_index, broadcast.client_id
    order_seed = derive_seed("batches", plan.run_seed, client_id, round_index)
    losses: list[Tensor] = []
    num_steps = 0
    for chosen in batch_indices(len(data.indices), plan.batch_size, plan.local_steps, order_seed):
        if num_steps == max_steps:
            break
        batch = fetch(data.dataset, data.indices[chosen], plan.device)
        step = learner.step(batch, StepKey(plan.run_seed, round_index, client_id, num_steps))
        answer: CutGradient | None = None
        if plan.upload_period is not None and num_steps % plan.upload_period == 0:
            answer = yield SmashedData(round_index, client_id, num_steps, _smashed(step), batch.labels)  # step 2
        else:
            next(step)
        result = finish(step, None if answer is None else answer.gradient.to(plan.device))
        num_steps += 1
        if result.loss is not None:
            losses.append(result.loss)
    train_loss = torch.stack(losses).mean().float() if losses else torch.tensor(torch.nan)
    yield ClientReply(round_index, client_id, len(data.indices), num_steps, train_loss, learner.model())  # step 4
    return learner.state()


def finish(step: StepGenerator, cut_gradient: Tensor | None = None) -> StepResult:
    """Run a step that has handed over its smashed data to its end.

    Args:
        step: the step.
        cut_gradient: d loss / d z from the Main Server, for algorithms that learn from it.
    """
    try:
        step.send(cut_gradient)
    except StopIteration as stop:
        result: StepResult = stop.value
        return result
    raise AssertionError("a local step yields exactly once")


def _smashed(step: StepGenerator) -> Tensor:
    smashed = next(step)
    assert smashed is not None  # only algorithms that upload have an upload period
    return smashed
