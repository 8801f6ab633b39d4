"""The private toy federation of the engines' tests, on a fake grid."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from flwr.app import Context, RecordDict
from torch import nn
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
from heron.split import SplitModel
from heron.wire.terms import Terms
from tests.engines.test_privacy import SIZES, examples, federation, shares, split_model
from tests.flower.grid import FakeGrid, Node

CPU = torch.device("cpu")
Watch = Callable[[Clients], None]


def network_of(parties: Federation) -> SplitModel:
    """The network of these parties, with heads of layer groups where they have some."""
    algorithm, settings = parties.algorithm, parties.settings
    has_groups = algorithm.orders(algorithm.learning(settings)).groups is not None
    split = split_model(extra=nn.Conv2d(2, 2, 3, padding=1)) if has_groups else split_model()
    return algorithm.equipped(split, settings, examples().tensors[0][:2])


def grid_of(parties: Federation, folder: Path | None = None, watch: Watch = lambda _: None) -> FakeGrid:
    """One node for each client, with the files of their secrets in a folder, or none."""

    def build(terms: Terms, node_config: Mapping[str, Any], vault: Vault | None) -> Clients:
        runtime = parties.algorithm.torch_runtime(network_of(parties), cross_entropy, terms.settings)
        apart = terms.settings.privacy.is_on
        data = {number: DatasetExamples(examples(), own, CPU, apart=apart) for number, own in enumerate(shares())}
        clients = Clients(terms, parties.algorithm, runtime, data, vault)
        watch(clients)
        return clients

    def node(client_id: int) -> Node:
        config: dict[str, Any] = {"partition-id": client_id}
        config |= {} if folder is None else {"secret": str(folder / f"secret-{client_id}")}
        return Node(make_client_app(build), Context(1, 10 + client_id, config, RecordDict(), {}))

    return FakeGrid({10 + client_id: node(client_id) for client_id in range(len(SIZES))})


def flower(parties: Federation, grid: FakeGrid, **settings: Any) -> FlowerFederation:
    """The servers of these parties on a grid."""
    chosen = DeploymentSettings(**{"round_timeout_s": 60.0, "retries": 0} | settings)
    split, example = network_of(parties), Batch(*(tensor[:2] for tensor in examples().tensors))
    terms = agree(split, parties.algorithm, parties.settings, cross_entropy, example, num_classes=3)
    servers = Servers(terms, parties.algorithm, split, cross_entropy)
    servers.account = private_account(parties.algorithm, parties.settings, SIZES)
    return FlowerFederation(servers, grid, 1, chosen, clock=grid.clock, sleep=grid.clock.sleep)


def flower_run(folder: Path | None, grid: FakeGrid, *, rounds: int = 4, settings: Any = None, **changes: Any) -> Run:
    """A run in a folder, or in none."""
    engine = flower(federation(rounds=rounds, **changes), grid, **settings or {})
    nothing = Batch(torch.empty(0), torch.empty(0))
    data = torch.utils.data.TensorDataset(nothing.inputs, nothing.labels)
    splits = Splits(examples(), data, data, num_classes=3)
    return Run(engine, splits, rounds=rounds, directory=None if folder is None else RunDirectory(folder))
