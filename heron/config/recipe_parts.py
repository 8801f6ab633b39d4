"""What recipes are made of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from heron.algorithms import ALGORITHMS
from heron.config.schema import RunConfig
from heron.zo.rules import OptimizerName


@dataclass(frozen=True)
class PaperCost:
    """What a paper reports for one client step.

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
    """What a recipe chooses for an algorithm; names as in the configuration.

    Attributes:
        client_rate: `client.learning_rate`.
        server_rate: `server.learning_rate`.
        exact: `client.exact`; algorithms without an order boundary have 0.
        exact_rate: `client.exact_learning_rate`; 0 for the client's.
        schedule: `client.schedule`.
        keep_state: `client.keep_state`.
        probes: `estimator.probes`; first-order algorithms ignore it.
    """

    client_rate: float
    server_rate: float
    exact: int = 0
    exact_rate: float = 0.0
    schedule: str = "constant"
    keep_state: bool = True
    probes: int = 1

    def client_keys(self) -> dict[str, Any]:
        """The keys of `[client]` that are chosen."""
        return {
            "exact": self.exact,
            "learning_rate": self.client_rate,
            "exact_learning_rate": self.exact_rate,
            "schedule": self.schedule,
            "keep_state": self.keep_state,
        }


def update_rule(algorithm: str) -> OptimizerName:
    """Adam, where the algorithm leaves the choice."""
    known = ALGORITHMS[algorithm].optimizers
    return "adam" if "adam" in known else known[0]
