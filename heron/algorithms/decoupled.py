"""The decoupled round: one exchange per client and round, no gradient comes back.

HERON-SFL (Kou et al., arXiv 2601.09076), CSE-FSL and the frozen control are this protocol with different client
steps. Step numbers are those of HERON-SFL's round t.
"""

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from heron.algorithms.base import ClientLearner, ClientState, StepGenerator, StepKey, StepResult
from heron.algorithms.servers import FedServer, MainServer
from heron.comms import ClientReply, Link, ModelBroadcast, SmashedData
from heron.data import batch_indices, fetch
from heron.zo import derive_seed


@dataclass(frozen=True)
class LocalPlan:
    """What a client does in a round.

    Attributes:
        run_seed: seed of the run.
        batch_size: examples per local step (B), >= 1.
        local_steps: local steps per round (h), >= 1; None for one pass over the client's data.
        upload_period: local steps from one upload to the next (k), >= 1; the first step of a round always uploads.
        device: where the client computes.
    """

    run_seed: int
    batch_size: int
    local_steps: int | None
    upload_period: int
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


ClientRound = Generator[SmashedData | ClientReply, None, ClientState]


def client_round(
    learner: ClientLearner, broadcast: ModelBroadcast, state: ClientState, data: ClientData, plan: LocalPlan
) -> ClientRound:
    """A client's side of the round: yields each upload BEFORE that step learns, then one reply; returns its state.

    No variable here holds smashed data across a `yield`, so that a consumer that drops its message frees it before
    the probes begin: never more than one z is alive.
    """
    learner.load(broadcast.model, state)  # step 1
    round_index, client_id = broadcast.round_index, broadcast.client_id
    order_seed = derive_seed("batches", plan.run_seed, client_id, round_index)
    losses: list[Tensor] = []
    num_steps = 0
    for local_step, chosen in enumerate(
        batch_indices(len(data.indices), plan.batch_size, plan.local_steps, order_seed)
    ):
        batch = fetch(data.dataset, data.indices[chosen], plan.device)
        step = learner.step(batch, StepKey(plan.run_seed, round_index, client_id, local_step))
        if local_step % plan.upload_period == 0:
            yield SmashedData(round_index, client_id, local_step, next(step), batch.labels)  # step 2
        else:
            next(step)
        result = finish(step)
        num_steps += 1
        if result.loss is not None:
            losses.append(result.loss)
    train_loss = torch.stack(losses).mean().float() if losses else torch.tensor(torch.nan)
    yield ClientReply(round_index, client_id, len(data.indices), num_steps, train_loss, learner.model())  # step 4
    return learner.state()


def decoupled_round(
    link: Link, fed_server: FedServer, main_server: MainServer, round_index: int, participants: list[int]
) -> None:
    """One round, in canonical order: client after client, uploads in step order.

    Args:
        link: reaches the clients.
        fed_server: averages theta_l.
        main_server: trains theta_s.
        round_index: t, from 0.
        participants: the clients S_t, ascending.
    """
    for client_id in participants:
        for message in link.exchange(fed_server.broadcast(round_index, client_id)):  # steps 1 and 2
            if isinstance(message, SmashedData):
                main_server.train(message)  # step 3
            else:
                fed_server.accept(message)  # step 4
            del message  # the client's probes run while we wait for the next one


def finish(step: StepGenerator) -> StepResult:
    """Run a step that has handed over its smashed data to its end."""
    try:
        next(step)
    except StopIteration as stop:
        result: StepResult = stop.value
        return result
    raise AssertionError("a local step yields smashed data exactly once")
