"""The toy federation of the conformance suite, on a fake grid."""

from collections.abc import Mapping
from typing import Any

import torch
from flwr.app import Context, RecordDict
from torch.nn.functional import cross_entropy

from heron.client.torch_runtime.examples import DatasetExamples
from heron.data import Batch, Splits
from heron.engines.agreement import agree
from heron.engines.clients import Clients
from heron.engines.in_process import Federation
from heron.engines.privacy import private_account
from heron.engines.servers import Servers
from heron.flower import DeploymentSettings, FlowerFederation, make_client_app
from heron.privacy.vault import Vault
from heron.runs.run_directory import RunDirectory
from heron.runs.run_loop import Run
from heron.wire.terms import Terms
from tests.conformance.test_algorithms import (
    CLASSES,
    NUM_CLIENTS,
    SIZES,
    equipped_split,
    examples,
    federation,
    partition,
)
from tests.flower.grid import Clock, FakeGrid, Node

CPU = torch.device("cpu")


def grid_of(parties: Federation, num_clients: int = NUM_CLIENTS) -> FakeGrid:
    """One node for each client; node ids do not identify the client."""

    def build(terms: Terms, node_config: Mapping[str, Any], vault: Vault | None) -> Clients:
        """A process of its own for the same federation, built from the terms that have travelled."""
        algorithm = parties.algorithm
        runtime = algorithm.torch_runtime(equipped_split(parties), cross_entropy, terms.settings)
        apart = terms.settings.privacy.is_on
        data = {number: DatasetExamples(examples(), own, CPU, apart=apart) for number, own in enumerate(partition())}
        return Clients(terms, algorithm, runtime, data, vault)

    def node(client_id: int) -> Node:
        node_id = 100 + 7 * client_id
        config = {"partition-id": client_id, "num-partitions": num_clients}
        return Node(make_client_app(build), Context(1, node_id, config, RecordDict(), {}))

    nodes = [node(client_id) for client_id in range(num_clients)]
    return FakeGrid({each.context.node_id: each for each in reversed(nodes)})


def flower(parties: Federation, grid: FakeGrid, **settings: Any) -> FlowerFederation:
    chosen = DeploymentSettings(**{"round_timeout_s": 60.0} | settings)
    split, example = equipped_split(parties), Batch(*(tensor[:2] for tensor in examples().tensors))
    terms = agree(split, parties.algorithm, parties.settings, cross_entropy, example, num_classes=CLASSES)
    servers = Servers(terms, parties.algorithm, split, cross_entropy)
    if parties.servers.account is not None:
        servers.account = private_account(parties.algorithm, parties.settings, SIZES)
    return FlowerFederation(servers, grid, 1, chosen, clock=grid.clock, sleep=grid.clock.sleep)


def node_of(grid: FakeGrid, client_id: int) -> Node:
    return next(node for node in grid.nodes.values() if node.context.node_config["partition-id"] == client_id)


def flower_run(
    name: str,
    directory: RunDirectory | None = None,
    *,
    rounds: int = 4,
    grid: FakeGrid | None = None,
    settings: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Run:
    parties = federation(name, **changes)
    engine = flower(parties, grid or grid_of(parties), **settings or {})
    data = examples()
    splits = Splits(train=data, validation=data, test=data, num_classes=CLASSES)
    return Run(engine, splits, rounds=rounds, directory=directory)


__all__ = ["Clock", "flower", "flower_run", "grid_of", "node_of"]
