"""Digits on a fake grid, with nodes that are clients of a bundle and nodes that have PyTorch."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from flwr.app import Context, RecordDict

from heron.apps import client
from heron.config import RunConfig, build_servers, load_splits, recipe_config
from heron.flower import DeploymentSettings, FlowerFederation
from tests.flower.grid import FakeGrid, Node

SMALL = ["clients.total=3", "threads=1", "client.local_steps=2", "client.optimizer=sgd", "rounds=2"]
SCALARS = [*SMALL, "client.exact=0", "update=scalars", "digest_period=1"]
MASKED = [*SCALARS, "seed_groups=1", "secure_sum=true", "client.keep_state=false"]
# Algorithm and changes of the runs, by the name of their bundle.
RUNS: dict[str, tuple[str, list[str]]] = {
    "heron": ("heron", []),
    "scalars": ("heron", SCALARS),
    "ho_sfl": ("ho_sfl", []),
}


def config_of(*changes: str, algorithm: str = "heron") -> RunConfig:
    return recipe_config("digits", algorithm, [*SMALL, *changes])


def lean(made: Path, number: int, bundle: str = "heron") -> dict[str, Any]:
    """Configuration of a node without PyTorch."""
    return {"partition-id": number, "bundle": str(made / bundle), "data": str(made / f"{number}.npz")}


def grid_of(nodes: dict[int, dict[str, Any]]) -> FakeGrid:
    return FakeGrid({10 + i: Node(client.app, Context(1, 10 + i, each, RecordDict(), {})) for i, each in nodes.items()})


def mixed_grid(made: Path, lean_ids: Collection[int], bundle: str) -> FakeGrid:
    """Three nodes, some of which are without PyTorch."""
    return grid_of({i: lean(made, i, bundle) if i in lean_ids else {"partition-id": i} for i in range(3)})


def federation(config: RunConfig, grid: FakeGrid, **settings: Any) -> FlowerFederation:
    servers = build_servers(config, load_splits(config))
    chosen = DeploymentSettings(**{"round_timeout_s": 60.0, "retries": 0} | settings)
    return FlowerFederation(servers, grid, 1, chosen, clock=grid.clock, sleep=grid.clock.sleep)


def mixed_federation(grid: FakeGrid, bundle: str, **settings: Any) -> FlowerFederation:
    """The servers of a bundle's run."""
    algorithm, changes = RUNS[bundle]
    return federation(config_of(*changes, algorithm=algorithm), grid, **settings)
