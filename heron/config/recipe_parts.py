"""What recipes are made of."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from heron.algorithms import ALGORITHMS
from heron.config.schema import ClientsConfig, RunConfig
from heron.config.servers import FedServerConfig, ServerConfig
from heron.config.traffic import LinkConfig, SmashedConfig
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


FIVE_CLIENTS = ClientsConfig(
    total=5, per_round=0, partition="iid", alpha=0.5, weighting="equal", dropout=0.0, stragglers=0.0
)

EXACT_UPLOADS = SmashedConfig(codec="fp32", zstd=False)

# Clients average, unbounded. For who switches FedAdam on: its paper's values.
AVERAGE = FedServerConfig(
    optimizer="average",
    learning_rate=1e-2,
    beta1=0.9,
    beta2=0.99,
    epsilon=1e-3,
    aggregation="mean",
    trim=0.1,
    max_norm=0.0,
    max_scalar=0.0,
)


# Messages one by one, and no limits, so no time to simulate.
NO_LINK = LinkConfig(
    bundle=False,
    uplink_mbps=0.0,
    downlink_mbps=0.0,
    latency_ms=0.0,
    client_gflops=0.0,
    server_gflops=0.0,
    profile="",
    devices=(),
)


def server(learning_rate: float) -> ServerConfig:
    """Adam, an auxiliary network that no server refreshes."""
    return ServerConfig(
        optimizer="adam",
        learning_rate=learning_rate,
        refresh_auxiliary=False,
        reuse=0,
        buffer_size=64,
        alignment_period=1,
        alignment_steps=10,
        alignment_learning_rate=1e-2,
    )


def update_rule(algorithm: str) -> OptimizerName:
    """Adam, where the algorithm leaves the choice."""
    known = ALGORITHMS[algorithm].optimizers
    return "adam" if "adam" in known else known[0]


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
