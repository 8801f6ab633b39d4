"""What a check found, one line each."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One line.

    Attributes:
        level: `error` if the deployment will not work, or gives a secret away.
        party: `server` or `client-N`.
        text: what was found, and what to do about it; never a secret.
    """

    level: Level
    party: str
    text: str

    def __str__(self) -> str:
        return f"{self.level:8}{self.party}: {' '.join(self.text.split())}"
