"""Who holds which examples: partitions of a data set among clients."""

import math
from collections.abc import Callable

import numpy as np

from heron.data.quiet import quiet_libraries
from heron.data.splits import library_seed
from heron.errors import DataError, MissingExtraError


def partition(kind: str, labels: np.ndarray, *, num_clients: int, alpha: float, seed: int) -> list[np.ndarray]:
    """Share examples out among clients; a function of the arguments alone.

    Args:
        kind: key of `PARTITIONS`.
        labels: class of every example, shape (n,); `iid` needs their number only.
        num_clients: N, in [1, n].
        alpha: concentration of `dirichlet`, > 0; small is skewed. `iid` ignores its value.
        seed: a run's seed or one made by `derive_seed`, in [-2**63, 2**64).

    Returns:
        Each client's positions, int64, ascending, at least one; disjoint, and together all of them. Where the draw
        leaves a client with nothing, one example is moved to it from the client that holds most.

    Raises:
        DataError: if the kind is unknown, a number is out of range, or there are fewer examples than clients.
        MissingExtraError: if `dirichlet` is asked for without the extra `partitions`.
    """
    if kind not in PARTITIONS:
        raise DataError(f"unknown partition {kind!r}; set clients.partition to one of: {', '.join(PARTITIONS)}")
    if num_clients < 1:
        raise DataError(f"expected at least 1 client, found {num_clients}; raise clients.total")
    if not (alpha > 0 and math.isfinite(alpha)):
        raise DataError(f"expected a finite alpha > 0, found {alpha}; set clients.alpha, 0.5 for marked skew")
    if num_clients > len(labels):
        raise DataError(
            f"client with no data: {num_clients} clients share {len(labels)} examples; lower clients.total to at most "
            f"{len(labels)}, or use more examples"
        )
    shares = PARTITIONS[kind](labels, num_clients, float(alpha), library_seed("partition", seed))
    return _none_empty([np.sort(share).astype(np.int64) for share in shares])


def _iid(labels: np.ndarray, num_clients: int, alpha: float, seed: int) -> list[np.ndarray]:  # noqa: ARG001 - one shape
    """A random split into parts of nearly equal size: the test folds of a shuffled K-fold."""
    from sklearn.model_selection import KFold

    everyone = np.arange(len(labels))
    if num_clients == 1:  # K-fold starts at two
        return [everyone]
    return [fold for _, fold in KFold(num_clients, shuffle=True, random_state=seed).split(everyone)]


def _dirichlet(labels: np.ndarray, num_clients: int, alpha: float, seed: int) -> list[np.ndarray]:
    """Label skew: each class is shared out by a draw of Dirichlet(alpha) (Hsu, Qi, Brown, arXiv 1909.06335)."""
    try:
        import datasets
        from flwr_datasets.partitioner import DirichletPartitioner
    except ImportError as error:
        raise MissingExtraError("flwr-datasets", "partitions") from error
    if labels.ndim != 1 or labels.dtype.kind not in "iub":
        raise DataError(
            f"expected one integer class an example for clients.partition dirichlet, found labels of shape "
            f"{labels.shape} and type {labels.dtype}; use iid"
        )
    with quiet_libraries():
        partitioner = DirichletPartitioner(
            num_partitions=num_clients,
            partition_by="label",
            alpha=alpha,
            min_partition_size=0,
            self_balancing=False,
            seed=seed,
        )
        partitioner.dataset = datasets.Dataset.from_dict({"position": np.arange(len(labels)), "label": labels})
        shares = [partitioner.load_partition(client_id)["position"] for client_id in range(num_clients)]
    return [np.asarray(share, dtype=np.int64) for share in shares]


def _none_empty(shares: list[np.ndarray]) -> list[np.ndarray]:
    """Move one example to each empty client, each time the last one of the client that holds most (the first such)."""
    for client_id, share in enumerate(shares):
        if len(share) == 0:
            richest = max(range(len(shares)), key=lambda other: len(shares[other]))
            shares[client_id], shares[richest] = shares[richest][-1:], shares[richest][:-1]
    return shares


PARTITIONS: dict[str, Callable[[np.ndarray, int, float, int], list[np.ndarray]]] = {
    "iid": _iid,
    "dirichlet": _dirichlet,
}
