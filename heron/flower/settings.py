"""How a deployment treats clients that are slow, absent or wrong; nothing of it changes what an undisturbed run is."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from heron.errors import ConfigError


@dataclass(frozen=True)
class DeploymentSettings:
    """Keys of the app's configuration.

    Attributes:
        round_timeout_s: seconds a client has for its round, > 0; also how long a run waits for clients to join. Clients
            of a decoupled round work at the same time, so that it is the round's deadline; those of a coupled round
            take turns.
        min_clients: participants whose round must arrive, else the round is tried again; 0 for all of them.
        retries: how often a round is tried again, >= 0; as often may a client begin its round anew because it lost
            what it was to go on with.
        max_reply_bytes: largest piece that a client sends at a time, >= 1024; what is longer comes in several.
        max_parts: most pieces of one reply, >= 1; what is longer still is refused.

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
        """Take what is there of the app's configuration; other keys are ignored.

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
