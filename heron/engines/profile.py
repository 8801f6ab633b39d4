"""Measured cost of a client step inside a federation, for comparison with its plan."""

import numpy as np
import torch

from heron.costs.client_step import ClientStep
from heron.costs.profile import ClientCost, measured_cost
from heron.data import fetch
from heron.engines.in_process import Federation


def profile_client(federation: Federation, *, repeats: int = 3) -> ClientCost:
    """Measure a client's local step with its real batch size. Trains the resident client and changes nothing else.

    Args:
        federation: a federation that will not be trained afterwards.
        repeats: number of timed steps, >= 1, fewer if they are long; the result is their median.
    """
    federation.split.train()
    federation.load_global_model()
    settings = federation.settings
    # A smaller batch is extended to a full one, since costs depend on shapes, not on values.
    chosen = np.resize(federation.partition[0], settings.client.batch_size)
    batch = fetch(federation.dataset, chosen, torch.device(settings.device))
    step = ClientStep(federation.algorithm, federation.local, federation.learner, batch, settings)
    return measured_cost(step, repeats)
