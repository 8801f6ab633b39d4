"""Clients that drop out or run late, simulated: a function of (seed, round, client)."""

from dataclasses import dataclass

import numpy as np

from heron.seeds import derive_seed
from heron.wire.groups import Clients


@dataclass(frozen=True)
class Attendance:
    """Fate of a participant in a round.

    Attributes:
        max_steps: local steps it makes before it stops; None for all.
        replies: whether its reply reaches the servers.
    """

    max_steps: int | None = None
    replies: bool = True


def attendance(clients: Clients, seed: int, round_index: int, client_id: int, num_steps: int) -> Attendance:
    """Draw a participant's fate.

    One that drops out vanishes before a local step drawn uniformly: what it has uploaded until then is used, it never
    replies and forgets its optimiser state. A straggler has made a number of local steps drawn uniformly from 1 to h
    when the round's deadline comes, and replies with what it has (as in FedProx: Li et al., MLSys 2020). The servers
    never wait.

    Args:
        clients: how often they drop out and are late.
        seed: seed of the run.
        round_index: t, from 0.
        client_id: from 0.
        num_steps: local steps of an undisturbed round, h.
    """
    if not (clients.dropout or clients.stragglers):
        return Attendance()
    generator = np.random.default_rng(derive_seed("attendance", seed, round_index, client_id))
    drops_out, is_late, share = generator.random(3)
    if drops_out < clients.dropout:
        return Attendance(int(share * num_steps), replies=False)
    if is_late < clients.stragglers:
        return Attendance(1 + int(share * num_steps))
    return Attendance()
