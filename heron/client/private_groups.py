"""Clients of layer groups whose steps leave them clipped, summed and noised: one release for all groups together.

Group g has the number d_igp of example i and probe p, from its own loss on what the group below puts out. All G q
numbers of an example are ONE vector, which is clipped, summed and noised as a client without groups does it with its q
numbers; then every group takes its part of what came out. So a step is one release, and the account stays as it is.

With a clip c of its own for each group a step would have the sensitivity sqrt(G) c, hence the noise sqrt(G) s c: that
of a joint clip C = sqrt(G) c, whose ball holds every vector that the G clips leave alone, and more
(docs/decisions/0055-private-updates.md).

`G` layer groups, `P` probes of a group, `B` examples of a batch, which may be 0.
"""

from typing import TYPE_CHECKING

import numpy as np

from heron.client.layer_local import group_key
from heron.client.private import PrivateProbingClient
from heron.client.private_layers import PrivateLayersClient
from heron.client.runtime import Runtime
from heron.client.step import StepGenerator
from heron.data import Batch
from heron.errors import ConfigError
from heron.seeds import StepKey
from heron.wire.learning import Learning

if TYPE_CHECKING:
    from numpy.typing import NDArray


class PrivateGroupsClient(PrivateLayersClient[PrivateProbingClient]):
    """A client whose layer groups probe losses of their own, with differential privacy for each example.

    Args:
        runtime: the client's network, in layer groups.
        learning: update rule, learning rate, estimator, mechanism and vault.
        upload_period: local steps from one upload of smashed data to the next.

    Raises:
        ConfigError: if a head of a group learns exactly, whose gradients are not clipped.
    """

    def __init__(self, runtime: Runtime, learning: Learning, *, upload_period: int) -> None:
        if any(group.runtime.exact is not None for group in runtime.groups):
            raise ConfigError(
                "expected client.exact=0 with client.learning=local_zeroth_order and privacy, found exact heads, whose "
                "gradients are not clipped; set it, or client.learning=local_exact, or leave [privacy] out"
            )
        super().__init__(
            runtime,
            lambda group: PrivateProbingClient(group, learning, upload_period=upload_period),
            learning,
            upload_period=upload_period,
        )

    def step(self, batch: Batch, key: StepKey) -> StepGenerator:
        """Make one noised step: all groups probe at the parameters that they have, and learn when all have probed."""
        keys = [group_key(number, key) for number in range(len(self._groups))]
        *lower, (last, _) = self._groups
        vectors: list[NDArray[np.floating]] = []
        for (learner, _), own in zip(lower, keys[:-1], strict=True):
            if not len(batch):
                vectors.append(learner.vectors(batch, own))
                continue
            outputs, losses_B = learner.clean_pass(batch, own)
            vectors.append(learner.vectors(batch, own, losses_B))
            batch = Batch(outputs, batch.labels)
            del outputs, losses_B
        smashed, losses_B = None, None
        if self._uploads(batch, key):
            smashed, losses_B = last.clean_pass(batch, keys[-1])
        yield smashed
        del smashed  # handed over
        vectors.append(last.vectors(batch, keys[-1], losses_B))
        total = self._mechanism.clipped_sum(np.concatenate(vectors, axis=1))
        return self._descend(total, [vector.shape[1] for vector in vectors], keys, key)
