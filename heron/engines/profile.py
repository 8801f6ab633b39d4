"""Measured cost of a client step inside a federation, for comparison with its plan."""

import numpy as np
import torch

from heron.client.torch_runtime.runtime import TorchRuntime
from heron.costs.client_step import ClientStep
from heron.costs.profile import ClientCost, measured_cost
from heron.data import fetch
from heron.engines.in_process import Federation


def profile_client(federation: Federation, *, repeats: int = 3, client_id: int = 0) -> ClientCost:
    """Measure a client's local step with its real batch size. Trains the resident client and changes nothing else.

    A client that runs an export is measured as one in PyTorch.

    Args:
        federation: a federation that will not be trained afterwards.
        repeats: number of timed steps, >= 1, fewer if they are long; the result is their median.
        client_id: the client, of interest where boundaries differ.
    """
    settings, algorithm = federation.settings, federation.algorithm
    federation.split.train()
    clients = federation.residents.of(client_id)
    if isinstance(clients.runtime, TorchRuntime):
        runtime, learner = clients.runtime, clients.learner
    else:
        runtime, learner = algorithm.torch_client(federation.split, federation.servers.criterion, settings)
    learner.load(federation.fed_server.global_model(), {})
    # A batch smaller than a full one is filled up: costs depend on shapes, not on values.
    chosen = np.resize(federation.partition[client_id], settings.client.batch_size)
    batch = fetch(federation.dataset, chosen, torch.device(settings.device))
    step = ClientStep(algorithm, runtime.local, learner, batch, settings)
    return measured_cost(step, repeats)
