"""The sides of a run whose clients are elsewhere: what each process builds of it."""

import numpy as np
import torch

from heron.algorithms import ALGORITHMS
from heron.config.build import client_shares
from heron.config.parts import load_splits, use_threads_and_device
from heron.config.schema import RunConfig
from heron.data import Batch, Splits, fetch, num_examples
from heron.engines.clients import Clients
from heron.engines.resident import Resident
from heron.engines.servers import Servers
from heron.flower.expected import Expected
from heron.tensors import as_tensor


def build_servers(config: RunConfig, splits: Splits) -> tuple[Servers, Expected]:
    """The servers' side of a run whose clients are elsewhere, and what uploads of theirs look like."""
    use_threads_and_device(config)
    resident, example = _resident(config, splits)
    return Servers(resident, config.clients.total), Expected.of(resident, example, splits.num_classes)


def build_clients(config: RunConfig) -> Clients:
    """The clients' side of a run whose servers are elsewhere."""
    use_threads_and_device(config)
    splits = load_splits(config)
    resident, _ = _resident(config, splits)
    return Clients(resident, splits.train, client_shares(config, splits))


def _resident(config: RunConfig, splits: Splits) -> tuple[Resident, Batch]:
    """The network of one process, with initial weights that depend on the seed alone, and a few examples."""
    example = fetch(splits.train, np.arange(min(2, num_examples(splits.train))), torch.device(config.device))
    algorithm = ALGORITHMS[config.algorithm]
    split, criterion = config.split.build(config.seed), config.split.criterion
    return Resident(split, algorithm, config, criterion, as_tensor(example.inputs)), example
