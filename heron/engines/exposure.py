"""Exposure of examples by uploads: their number, and the effect of noise on smashed data and of changed labels."""

import math
from collections.abc import Sequence
from typing import Any

from heron.algorithms import Algorithm
from heron.data.order import num_local_steps
from heron.engines.participants import drawn_participants
from heron.privacy import Releases, seen_epsilon
from heron.wire.groups import Settings


def uploads_per_example(algorithm: Algorithm, settings: Settings, sizes: Sequence[int]) -> float:
    """Compute how often an example of the client that uploads its examples most often is uploaded in a run, on average.

    Args:
        algorithm: a row of `ALGORITHMS`.
        settings: of the run.
        sizes: number of examples of each client.
    """
    period = algorithm.upload_period(settings)
    if period is None:
        return 0.0
    rounds = [0] * len(sizes)
    for round_index in range(settings.rounds):
        for client_id in drawn_participants(settings, round_index):
            rounds[client_id] += 1
    return max(number * uploads_in_round(settings, size, period) for number, size in zip(rounds, sizes, strict=True))


def uploads_in_round(settings: Settings, size: int, period: int) -> float:
    """Compute how often an example is uploaded in a round of its client, on average.

    Args:
        settings: of the run.
        size: number of examples of the client.
        period: local steps from one upload to the next.
    """
    client = settings.client
    per_pass = num_local_steps(size, client.batch_size, None)
    is_drawn = settings.privacy.draws_batches
    last = client.batch_size if is_drawn else size - client.batch_size * (per_pass - 1)
    steps = range(0, client.local_steps or per_pass, period)
    numbers = (min(client.batch_size, size) if (step + 1) % per_pass else min(last, size) for step in steps)
    return sum(numbers) / size


def exposure(algorithm: Algorithm, settings: Settings, sizes: Sequence[int]) -> dict[str, Any]:
    """Describe the uploads of a run, for its summary; empty where nothing is uploaded or changed.

    Args:
        algorithm: a row of `ALGORITHMS`.
        settings: of the run.
        sizes: number of examples of each client.
    """
    number = uploads_per_example(algorithm, settings, sizes)
    smashed, privacy = settings.smashed, settings.privacy
    shown: dict[str, Any] = {"uploads_per_example": number} if number else {}
    if smashed.noise:
        # Two examples are at most 2 clips apart; of one upload, as if there were no other.
        one = seen_epsilon(Releases(1, 1.0, smashed.noise / (2.0 * smashed.clip)), privacy.delta)
        shown["smashed_noise"] = {
            "clip": smashed.clip,
            "noise": smashed.noise,
            "noise_if_it_were_drawn_for_each_upload_and_averaged": smashed.noise / math.sqrt(max(1.0, number)),
            "epsilon_of_one_upload": one,
            "delta": privacy.delta,
            "claim": "none: noise is drawn once for each example, so that averaging its uploads takes none away, but "
            "uploads from a client part that has changed reveal more than one",
        }
    if privacy.label_budget:
        shown["label_epsilon"] = privacy.label_budget
    return shown
