"""Arguments of a federation that have a wrong type, refused before anything is built from them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heron.algorithms import Algorithm
from heron.data import num_examples
from heron.data.map_style import check_map_style
from heron.errors import ConfigError, DataError
from heron.ranges import shown
from heron.split.arguments import check_criterion, check_split
from heron.wire.groups import Settings


def check_parts(split: Any, algorithm: Any, dataset: Any, settings: Any, criterion: Any) -> None:
    """Refuse what is no cut network, row of the registry, data set, object of settings or criterion.

    Raises:
        HeronError: naming the argument, and with what to give in place of what was given.
    """
    check_split(split)
    if not isinstance(algorithm, Algorithm):
        raise ConfigError(
            f"algorithm: expected a row of heron.algorithms.ALGORITHMS, found {shown(algorithm)}; write "
            f"ALGORITHMS['heron']"
        )
    check_map_style("dataset", dataset)
    if not isinstance(settings, Settings):
        raise ConfigError(
            f"settings: expected heron.Settings, found {shown(settings)}; write heron.Settings(rounds=20)"
        )
    check_criterion(criterion)


def checked_shares(partition: Any, dataset: Any) -> list[NDArray[np.int64]]:
    """Return each client's positions as arrays of integers.

    Raises:
        DataError: if there is no client, a client has no example, or a position is outside the data set.
    """
    advice = "share them out with heron.data.partition"
    if not isinstance(partition, Sequence | np.ndarray) or isinstance(partition, str | bytes) or not len(partition):
        raise DataError(
            f"partition: expected the positions of each client's examples, found {shown(partition)}; {advice}"
        )
    shares = [np.asarray(share) for share in partition]
    for client_id, share in enumerate(shares):
        if share.ndim != 1 or share.dtype.kind not in "iu" or not len(share):
            raise DataError(
                f"partition: expected integer positions of shape (n,), n >= 1, for each client, found shape "
                f"{share.shape} of {share.dtype} for client {client_id}; {advice}"
            )
    everything, total = np.concatenate(shares), num_examples(dataset)
    if everything.min() < 0 or everything.max() >= total:
        raise DataError(
            f"partition: expected positions from 0 to {total - 1}, found {everything.min()} to {everything.max()}; "
            f"{advice}"
        )
    return [share.astype(np.int64, copy=False) for share in shares]
