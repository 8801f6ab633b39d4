"""Clients of layer groups with exact gradients, clipped together example by example: one release for all groups.

Group g has the gradient of example i's loss at its own head. The gradients of all groups are ONE vector of an example,
which is clipped, summed and noised; then every group takes its part of what came out. It is DP-SGD (Abadi et al., CCS
2016) in which no gradient crosses a group. Gradients of one micro-batch are held at a time.

`G` layer groups, `B` examples of a batch, which may be 0, `b` of a micro-batch, `D` values of all groups.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from heron.client.layer_local import group_key
from heron.client.private import PrivateGradientClient
from heron.client.private_layers import PrivateLayersClient
from heron.client.runtime import Runtime
from heron.client.step import StepGenerator
from heron.data import Batch
from heron.seeds import StepKey
from heron.wire.learning import Learning


class PrivateExactGroupsClient(PrivateLayersClient[PrivateGradientClient]):
    """A client whose layer groups learn exactly from losses of their own, with differential privacy for each example.

    Args:
        runtime: the client's network, in layer groups that learn exactly.
        learning: update rule, learning rate, mechanism and vault.
        upload_period: local steps from one upload of smashed data to the next.
    """

    def __init__(self, runtime: Runtime, learning: Learning, *, upload_period: int) -> None:
        super().__init__(
            runtime,
            lambda group: PrivateGradientClient(group, learning, upload_period=upload_period),
            learning,
            upload_period=upload_period,
        )
        self._runtime = runtime
        self._micro_batch = learning.client.micro_batch
        self._sizes = [learner.num_values for learner, _ in self._groups]

    def step(self, batch: Batch, key: StepKey) -> StepGenerator:
        """Make one noised step: all groups learn when the gradients of all examples have been clipped."""
        yield self._runtime.smash(batch, key.seed("dropout")) if self._uploads(batch, key) else None
        total_D = np.zeros(sum(self._sizes), np.int64)
        for piece in self._pieces(batch):
            total_D += self._mechanism.clipped_sum(self._vectors(piece, key))
        return self._descend(total_D, self._sizes, [key] * len(self._sizes), key)

    def _pieces(self, batch: Batch) -> Iterator[Batch]:
        """Yield the micro-batches of a batch."""
        size = self._micro_batch or max(1, len(batch))
        for start in range(0, len(batch), size):
            yield Batch(batch.inputs[start : start + size], batch.labels[start : start + size])

    def _vectors(self, piece: Batch, key: StepKey) -> NDArray[np.floating]:
        """Compute the gradients of all groups for every example of a micro-batch, shape (b, D)."""
        *lower, (last, _) = self._groups
        vectors = []
        for number, (learner, _) in enumerate(lower):
            vectors.append(learner.vectors(piece))
            outputs = learner.runtime.smash(piece, group_key(number, key).seed("dropout"))
            piece = Batch(outputs, piece.labels)
        vectors.append(last.vectors(piece))
        return np.concatenate(vectors, axis=1)
