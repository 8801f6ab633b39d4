"""Clients that drop out or run late, simulated: a function of (seed, round, client)."""

from dataclasses import dataclass

import numpy as np

from heron.errors import ConfigError
from heron.seeds import derive_seed


@dataclass(frozen=True)
class Attendance:
    """What becomes of a participant in a round.

    Attributes:
        max_steps: local steps it makes before it stops; None for all.
        replies: whether its reply reaches the servers.
    """

    max_steps: int | None = None
    replies: bool = True


@dataclass(frozen=True)
class Reliability:
    """How reliable clients are.

    Attributes:
        dropout: probability in [0, 1) that a participant drops out: it vanishes before a local step drawn uniformly,
            what it has uploaded until then is used, it never replies and forgets its optimiser state.
        stragglers: probability in [0, 1) that it is slow: when the round's deadline comes it has made a number of
            local steps drawn uniformly from 1 to h, and replies with what it has (as in FedProx: Li et al., MLSys
            2020). The servers never wait.

    Raises:
        ConfigError: if a probability is out of range.
    """

    dropout: float = 0.0
    stragglers: float = 0.0

    def __post_init__(self) -> None:
        for name in ("dropout", "stragglers"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"expected clients.{name} in [0, 1), found {getattr(self, name)}")

    def attendance(self, seed: int, round_index: int, client_id: int, num_steps: int) -> Attendance:
        """Draw a participant's fate.

        Args:
            seed: seed of the run.
            round_index: t, from 0.
            client_id: from 0.
            num_steps: local steps of an undisturbed round, h.
        """
        if not (self.dropout or self.stragglers):
            return Attendance()
        generator = np.random.default_rng(derive_seed("attendance", seed, round_index, client_id))
        drops_out, is_late, share = generator.random(3)
        if drops_out < self.dropout:
            return Attendance(int(share * num_steps), replies=False)
        if is_late < self.stragglers:
            return Attendance(1 + int(share * num_steps))
        return Attendance()
