"""A runtime of a few lines of NumPy: a linear client part and a linear auxiliary network under cross-entropy.

It has no exactly trained part, no buffers and no Dropout, which is all that HERON-SFL as published needs.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from heron.arrays import to_host
from heron.data import Batch
from heron.zo.flat import FlatArrays


class ToyRuntime:
    """z = x W, scores = z V; theta = (W, V)."""

    exact = None
    groups = ()

    def __init__(self, num_inputs: int = 6, num_features: int = 3, num_classes: int = 4) -> None:
        generator = np.random.default_rng(0)
        self.theta = FlatArrays(
            {
                "client.weight": generator.standard_normal((num_inputs, num_features)).astype(np.float32),
                "auxiliary.weight": generator.standard_normal((num_features, num_classes)).astype(np.float32),
            }
        )

    def _weights(self) -> tuple[np.ndarray, np.ndarray]:
        client, auxiliary = self.theta.split(self.theta.work).values()
        return client, auxiliary

    def smash(self, batch: Batch, seed: int) -> np.ndarray:
        return to_host(batch.inputs) @ self._weights()[0]

    def losses(self, batch: Batch, seed: int) -> np.ndarray:
        scores = self.smash(batch, seed) @ self._weights()[1]
        scores = scores - scores.max(axis=1, keepdims=True)
        normaliser = np.log(np.exp(scores).sum(axis=1))
        return normaliser - scores[np.arange(len(batch)), to_host(batch.labels)]

    def loss(self, batch: Batch, seed: int) -> np.ndarray:
        return self.losses(batch, seed).mean()

    def clean(self, batch: Batch, seed: int) -> tuple[np.ndarray, np.ndarray]:
        return self.smash(batch, seed), self.loss(batch, seed)

    def clean_losses(self, batch: Batch, seed: int) -> tuple[np.ndarray, np.ndarray]:
        return self.smash(batch, seed), self.losses(batch, seed)

    def anchor(self, delta: np.ndarray, smashed: np.ndarray) -> np.ndarray:
        return np.vdot(delta.astype(np.float64), smashed.astype(np.float64))

    def surrogate(self, batch: Batch, seed: int, delta: np.ndarray) -> np.ndarray:
        return self.anchor(delta, self.smash(batch, seed))

    def receive(self, array: np.ndarray) -> np.ndarray:
        return to_host(array)

    def buffers(self) -> Mapping[str, np.ndarray]:
        return {}

    def load_buffers_(self, model: Mapping[str, np.ndarray]) -> None:
        pass

    def tensors(self) -> Mapping[str, np.ndarray]:
        return self.theta.named_tensors()

    def resident(self) -> Mapping[str, Sequence[np.ndarray]]:
        return {"parameters": [self.theta.work], "buffers": [], "optimizer_state": []}


class ToyExamples:
    """A client's examples in two NumPy arrays."""

    def __init__(self, num_examples: int = 10, num_inputs: int = 6, num_classes: int = 4) -> None:
        generator = np.random.default_rng(1)
        self._inputs = generator.standard_normal((num_examples, num_inputs)).astype(np.float32)
        self._labels = generator.integers(num_classes, size=num_examples)

    def __len__(self) -> int:
        return len(self._labels)

    def batch(self, positions: np.ndarray, seed: int = 0) -> Batch:
        return Batch(self._inputs[positions], self._labels[positions])
