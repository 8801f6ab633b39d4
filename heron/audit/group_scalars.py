"""The projected gradients of layer groups, read from how far a step of SGD moved each of them.

A group moves by (eta / q) U s with the q directions of its step, which are a function of seeds that everybody knows;
so s is found by least squares. Where scalars are sent nothing has to be found.

`D` parameters of a group, `P` probes.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from heron.arrays import to_host
from heron.client.layer_local import group_key
from heron.client.runtime import LayerGroup
from heron.seeds import StepKey
from heron.wire.learning import Learning
from heron.wire.walks import direction_seeds, schedule_of
from heron.zo.stream import direction


def group_scalars(
    groups: Sequence[LayerGroup], learning: Learning, key: StepKey, moved: Mapping[str, NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Find the projected gradients of a step, those of all groups in one vector.

    Args:
        groups: of the client.
        learning: estimator and seed groups.
        key: the step's place.
        moved: by how much each parameter moved against its gradient, over the learning rate.
    """
    estimator = learning.estimator
    assert estimator is not None  # asked for by groups that probe
    schedule = schedule_of(key.client_id, learning.settings.seed_groups)
    found = []
    for number, group in enumerate(groups):
        own = group_key(number, key)
        theta = group.runtime.theta
        assert theta is not None  # as above
        moved_D = np.concatenate([moved[group.names[name]].ravel() for name in theta.named_tensors()])
        seeds = direction_seeds(own.run_seed, own.round_index, schedule, own.local_step, estimator.num_probes)
        directions_DP = np.stack(
            [to_host(direction(seed, 0, len(moved_D), distribution=estimator.distribution)) for seed in seeds], axis=1
        ).astype(np.float64)
        solution_P: NDArray[np.float64] = np.linalg.lstsq(directions_DP, moved_D, rcond=None)[0]
        found.append(estimator.num_probes * solution_P)
    return np.concatenate(found)
