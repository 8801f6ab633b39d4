"""A federation whose replies are under masks, on the fake grid."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flwr.app import Context, RecordDict
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

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
from tests.engines.test_secure_sum import SIZES, examples, federation, split_model
from tests.flower.grid import FakeGrid, Node

CPU = torch.device("cpu")
SHARES = np.split(np.arange(sum(SIZES)), np.cumsum(SIZES)[:-1])


def grid_of(parties: Federation, *, run_id: int = 1, secrets: Path | None = None) -> FakeGrid:
    """One node for each client, with secrets in files of a folder or in their contexts; ids tell no client."""

    def build(terms: Terms, node_config: Mapping[str, Any], vault: Vault | None) -> Clients:
        split = parties.algorithm.equipped(split_model(), terms.settings, examples().tensors[0][:2])
        runtime = parties.algorithm.torch_runtime(split, cross_entropy, terms.settings)
        apart = terms.settings.privacy.is_on
        data = {number: DatasetExamples(examples(), own, CPU, apart=apart) for number, own in enumerate(SHARES)}
        return Clients(terms, parties.algorithm, runtime, data, vault)

    def node(client_id: int) -> Node:
        config: dict[str, Any] = {"partition-id": client_id}
        if secrets is not None:
            config["secret"] = str(secrets / f"{client_id}.secret")
        return Node(make_client_app(build), Context(run_id, 100 + 7 * client_id, config, RecordDict(), {}))

    nodes = [node(client_id) for client_id in range(len(SIZES))]
    return FakeGrid({each.context.node_id: each for each in reversed(nodes)})


def flower(parties: Federation, grid: FakeGrid, **settings: Any) -> FlowerFederation:
    chosen = DeploymentSettings(**{"round_timeout_s": 60.0} | settings)
    split, example = split_model(), Batch(*(tensor[:2] for tensor in examples().tensors))
    split = parties.algorithm.equipped(split, parties.settings, example.inputs)
    terms = agree(split, parties.algorithm, parties.settings, cross_entropy, example, num_classes=3)
    servers = Servers(terms, parties.algorithm, split, cross_entropy)
    servers.account = private_account(parties.algorithm, parties.settings, SIZES)
    return FlowerFederation(servers, grid, 1, chosen, clock=grid.clock, sleep=grid.clock.sleep)


def started(**changes: Any) -> tuple[FakeGrid, FlowerFederation]:
    """A grid and its engine, in which all but a few clients suffice."""
    parties = federation(**changes)
    grid = grid_of(parties)
    return grid, flower(parties, grid, min_clients=3, retries=0)


def run_of(engine: Any, *, rounds: int, directory: RunDirectory | None = None) -> Run[Any]:
    empty = TensorDataset(torch.empty(0), torch.empty(0))
    return Run(engine, Splits(examples(), empty, empty, num_classes=3), rounds=rounds, directory=directory)


def model_of(engine: Any) -> dict[str, bytes]:
    """What clients would be sent, bit for bit."""
    servers = getattr(engine, "servers", engine)
    return {name: tensor.numpy().tobytes() for name, tensor in servers.fed_server.global_model().items()}
