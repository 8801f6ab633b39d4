"""Parts of recipes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from heron.algorithms import ALGORITHMS
from heron.config.schema import RunConfig
from heron.wire.groups import Client
from heron.zo.rules import OptimizerName


@dataclass(frozen=True)
class PaperCost:
    """Cost of one client step as a paper reports it.

    Attributes:
        peak_memory_bytes: peak memory.
        flops_per_step: floating-point operations.
    """

    peak_memory_bytes: float
    flops_per_step: float


@dataclass(frozen=True)
class Recipe:
    """A named configuration.

    Attributes:
        name: what the command line calls it.
        summary: one line for a person.
        build: the configuration for an algorithm.
        paper_costs: costs of one client step by algorithm, where the recipe is a paper's setting.
    """

    name: str
    summary: str
    build: Callable[[str], RunConfig]
    paper_costs: Mapping[str, PaperCost] = field(default_factory=dict)


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
