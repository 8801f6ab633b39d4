"""Layer groups under one release: what all groups have of an example is one vector, with one clip.

`G` layer groups, `B` examples of a batch, which may be 0, `D` numbers of all groups.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from heron.client.layer_local import GroupLearner, LayerLocalClient
from heron.client.private import noised
from heron.client.runtime import Runtime
from heron.client.step import StepResult
from heron.data import Batch
from heron.seeds import StepKey
from heron.wire.learning import Learning


class PrivateGroupLearner(GroupLearner, Protocol):
    """The learner of one group, which takes its step along released numbers."""

    def descend(self, released: NDArray[np.float64], key: StepKey, /) -> StepResult:
        """Take the step that released numbers make."""
        ...


Own = TypeVar("Own", bound=PrivateGroupLearner)


class PrivateLayersClient(LayerLocalClient[Own]):
    """A client whose layer groups learn from parts of one noised release.

    Args:
        runtime: the client's network, in layer groups.
        make_client: makes the learner of one group, which says what a group has of an example.
        learning: update rule, learning rate, mechanism and vault.
        upload_period: local steps from one upload of smashed data to the next.
    """

    def __init__(
        self, runtime: Runtime, make_client: Callable[[Runtime], Own], learning: Learning, *, upload_period: int
    ) -> None:
        super().__init__(runtime, make_client)
        assert learning.vault is not None  # whoever makes private clients gives them one
        self._vault = learning.vault
        self._mechanism = learning.mechanism(num_parts=1)
        self._upload_period = upload_period

    def _uploads(self, batch: Batch, key: StepKey) -> bool:
        """Return whether smashed data of a batch leave in this step."""
        return len(batch) > 0 and key.local_step % self._upload_period == 0

    def _descend(
        self, total_D: NDArray[np.int64], sizes: Sequence[int], keys: Sequence[StepKey], key: StepKey
    ) -> StepResult:
        """Add the step's noise to a clipped sum, and let every group take a step along its part.

        Args:
            total_D: the sum over a whole batch.
            sizes: length of each group's part, shape (G,).
            keys: each group's place in the run, shape (G,).
            key: the step's.
        """
        released_D = noised(total_D, key, self._mechanism, self._vault)
        parts = np.split(released_D, np.cumsum(sizes)[:-1])
        for (learner, _), own, part in zip(self._groups, keys, parts, strict=True):
            learner.descend(part, own)
        return StepResult(None)
