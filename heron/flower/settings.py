"""Treatment of clients that are slow, absent or wrong; none of it changes an undisturbed run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from heron.errors import ConfigError


@dataclass(frozen=True)
class DeploymentSettings:
    """Settings of a deployment, from the app's configuration.

    Attributes:
        round_timeout_s: seconds that a client has for its round, > 0; also the time that a run waits for clients to
            join. Clients of a decoupled round work in parallel, so this is the round's deadline; those of a coupled
            round take turns.
        min_clients: number of participants whose round must arrive, else the round is repeated; 0 for all of them.
        retries: number of times that a round is repeated, >= 0, and that a client may begin its round again because it
            lost state that it needs to continue.
        max_reply_bytes: largest piece that a client sends at a time, >= 1024; longer replies are sent in pieces.
        max_parts: largest number of pieces of one reply, >= 1; longer replies are refused.

    Raises:
        ConfigError: if a value is out of range.
    """

    round_timeout_s: float = 600.0
    min_clients: int = 0
    retries: int = 2
    max_reply_bytes: int = 64 * 2**20
    max_parts: int = 64

    def __post_init__(self) -> None:
        if not (math.isfinite(self.round_timeout_s) and self.round_timeout_s > 0):
            raise ConfigError(f"expected round_timeout_s > 0, found {self.round_timeout_s}")
        for name, least in (("min_clients", 0), ("retries", 0), ("max_reply_bytes", 1024), ("max_parts", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"expected {name} of at least {least}, found {getattr(self, name)}")

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "DeploymentSettings":
        """Read these settings from the app's configuration; other keys are ignored.

        Raises:
            ConfigError: if a value has another type or is out of range.
        """
        chosen: dict[str, Any] = {}
        for field in fields(cls):
            if field.name not in values:
                continue
            found, expected = values[field.name], type(field.default)
            if expected is float and type(found) is int:
                found = float(found)
            if type(found) is not expected:
                raise ConfigError(f"expected {field.name} as {expected.__name__}, found {found!r}")
            chosen[field.name] = found
        return cls(**chosen)
