"""Findings of a check, one line each."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One finding, shown as one line.

    Attributes:
        level: `error` if the deployment will not work, or exposes a secret.
        party: `server` or `client-N`.
        text: the finding, and what to do about it; never a secret.
    """

    level: Level
    party: str
    text: str

    def __str__(self) -> str:
        return f"{self.level:8}{self.party}: {' '.join(self.text.split())}"
