"""Parts of recipes: what they choose by algorithm."""

from dataclasses import dataclass, replace
from typing import Any

from heron.algorithms import ALGORITHMS
from heron.wire.groups import Client
from heron.zo.rules import OptimizerName


@dataclass(frozen=True)
class Choice:
    """Settings that a recipe chooses by algorithm.

    Attributes:
        client: rates, order boundary, schedule and state of the clients; algorithms without a boundary have `exact` 0.
        server_rate: `server.learning_rate`.
        probes: `estimator.probes`; first-order algorithms ignore it.
    """

    client: Client
    server_rate: float
    probes: int = 1

    def client_of(self, algorithm: str, **changes: Any) -> Client:
        """Group `[client]` of an algorithm, with the recipe's changes."""
        return replace(self.client, optimizer=update_rule(algorithm), **changes)


def update_rule(algorithm: str) -> OptimizerName:
    """Adam, where the algorithm leaves the choice."""
    known = ALGORITHMS[algorithm].optimizers
    return "adam" if "adam" in known else known[0]
