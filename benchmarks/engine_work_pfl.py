"""FederatedAveraging of pfl-research (`pip install pfl`, arXiv 2404.06430) on digits, timed as by `engine_work.py`.

    python benchmarks/engine_work_pfl.py CLIENTS.npz ROUNDS WARM_ROUNDS BATCH_SIZE

Prints milliseconds per client and round by kind as JSON. Imports nothing of `heron`; `engine_work.py` calls it.
"""

import json
import statistics
import sys
from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from pfl.aggregate.simulate import SimulatedBackend  # type: ignore[import-not-found]
from pfl.algorithm.base import NNAlgorithmParams  # type: ignore[import-not-found]
from pfl.algorithm.federated_averaging import FederatedAveraging  # type: ignore[import-not-found]
from pfl.callback.base import TrainingProcessCallback  # type: ignore[import-not-found]
from pfl.data.dataset import Dataset  # type: ignore[import-not-found]
from pfl.data.federated_dataset import FederatedDataset  # type: ignore[import-not-found]
from pfl.data.sampling import get_user_sampler  # type: ignore[import-not-found]
from pfl.hyperparam import NNEvalHyperParams, NNTrainHyperParams  # type: ignore[import-not-found]
from pfl.metrics import Metrics  # type: ignore[import-not-found]
from pfl.model.pytorch import PyTorchModel  # type: ignore[import-not-found]
from torch import Tensor, nn
from work_clock import KINDS, WorkClock


class Network(nn.Sequential):
    """The network of the recipe `digits`, uncut."""

    def __init__(self) -> None:
        layers = [nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 16, 3, 2, padding=1), nn.Conv2d(16, 4, 3, 2, padding=1)]
        names = {f"{kind}{number}": layer for number, conv in enumerate(layers, 1) for kind, layer in _pair(conv)}
        rest = {"flatten": nn.Flatten(), "fc1": nn.Linear(16, 64), "relu4": nn.ReLU(), "fc2": nn.Linear(64, 10)}
        super().__init__(OrderedDict(names | rest))

    def loss(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """What a client descends."""
        self.train()
        return torch.nn.functional.cross_entropy(self(inputs), labels)

    def metrics(self, *_: Any) -> dict[str, Any]:
        """Nothing is evaluated."""
        return {}


class Rounds(TrainingProcessCallback):  # type: ignore[misc]
    """Reads the clock after every round."""

    def __init__(self, clock: WorkClock) -> None:
        self.clock = clock
        self.found: list[dict[str, float]] = []

    def after_central_iteration(self, *_: Any, **__: Any) -> tuple[bool, Any]:
        """A round is over."""
        self.found.append(self.clock.stop())
        self.clock.start()
        return False, Metrics()


def _pair(conv: nn.Conv2d) -> list[tuple[str, nn.Module]]:
    return [("conv", conv), ("relu", nn.ReLU(inplace=True))]


def main() -> None:
    """Train and print."""
    torch.set_num_threads(1)
    path, rounds, warm, batch_size = sys.argv[1], *map(int, sys.argv[2:])
    held = np.load(path)
    users = {name: held[name] for name in held.files if name.startswith("share")}
    inputs, labels = torch.from_numpy(held["inputs"]), torch.from_numpy(held["labels"])

    def client(name: str) -> Any:
        return Dataset(raw_data=[inputs[users[name]], labels[users[name]]])

    data = FederatedDataset(client, get_user_sampler("minimize_reuse", list(users)))
    network, clock = Network(), WorkClock()
    model = PyTorchModel(network, torch.optim.Adam, torch.optim.SGD(network.parameters(), 1.0))
    timing = Rounds(clock)
    with clock.watching(("updates", torch.optim.Adam, "step"), ("model", torch.nn.functional, "cross_entropy")):
        clock.start()
        FederatedAveraging().run(
            NNAlgorithmParams(rounds + warm, rounds + warm + 1, len(users), 0),
            SimulatedBackend(data, data),
            model,
            NNTrainHyperParams(
                local_batch_size=batch_size, local_num_epochs=1, local_learning_rate=1e-2, local_max_grad_norm=None
            ),
            NNEvalHyperParams(local_batch_size=None),
            [timing],
            send_metrics_to_platform=False,
        )
    found = timing.found[warm:]
    print(json.dumps({kind: 1000 * statistics.median(row[kind] for row in found) / len(users) for kind in KINDS}))


if __name__ == "__main__":
    main()
