"""The clients of each round, drawn from the run's seed."""

import numpy as np

from heron.errors import ConfigError
from heron.seeds import derive_seed
from heron.wire.groups import Settings


def drawn_participants(settings: Settings, round_index: int) -> list[int]:
    """Draw the clients of a round, ascending, without replacement.

    Args:
        settings: of the run, with the number of clients.
        round_index: t, from 0.
    """
    total, number = settings.clients.total, settings.clients.per_round
    if number in (0, total):
        return list(range(total))
    generator = np.random.default_rng(derive_seed("participants", settings.seed, round_index))
    chosen = generator.choice(total, size=number, replace=False)
    return sorted(int(client_id) for client_id in chosen)


def check_participants(chosen: int, num_clients: int) -> None:
    """Refuse a round of more clients than there are.

    Args:
        chosen: participants of a round; 0 for all.
        num_clients: number of clients, N.

    Raises:
        ConfigError: with both numbers.
    """
    if chosen > num_clients:
        raise ConfigError(f"expected clients.per_round from 1 to clients.total = {num_clients}, found {chosen}")


def planned_rounds(settings: Settings, client_id: int) -> int:
    """Count the rounds of a run that a client is to take part in.

    Args:
        settings: of the run, with the number of clients.
        client_id: i, from 0.
    """
    if not settings.clients.per_round:
        return settings.rounds
    return sum(client_id in drawn_participants(settings, round_index) for round_index in range(settings.rounds))
