"""Who holds which examples: partitions of a data set among clients."""

from collections.abc import Callable

import numpy as np

from heron.data.splits import library_seed
from heron.errors import DataError, MissingExtraError


def partition(kind: str, labels: np.ndarray, *, num_clients: int, alpha: float, seed: int) -> list[np.ndarray]:
    """Share examples out among clients.

    Args:
        kind: key of `PARTITIONS`.
        labels: class of every example, shape (n,).
        num_clients: N, >= 1.
        alpha: concentration of `dirichlet`, > 0; small is skewed. `iid` ignores it.
        seed: seed of the run.

    Returns:
        Each client's positions, ascending; disjoint, and together all of them.

    Raises:
        DataError: if the kind is unknown, a number is out of range, or a client would hold nothing.
        MissingExtraError: if `dirichlet` is asked for without the extra `partitions`.
    """
    if kind not in PARTITIONS:
        raise DataError(f"unknown partition {kind!r}; known: {', '.join(PARTITIONS)}")
    if num_clients < 1 or not alpha > 0:
        raise DataError(f"expected at least 1 client and alpha > 0, found {num_clients} clients, alpha {alpha}")
    if num_clients > len(labels):
        raise DataError(
            f"client with no data: {num_clients} clients share {len(labels)} examples; lower clients.total to at most "
            f"{len(labels)}"
        )
    shares = PARTITIONS[kind](labels, num_clients, alpha, library_seed("partition", seed))
    return [np.sort(share).astype(np.int64) for share in shares]


def _iid(labels: np.ndarray, num_clients: int, alpha: float, seed: int) -> list[np.ndarray]:  # noqa: ARG001 - one shape
    """A random split into parts of nearly equal size: the test folds of a shuffled K-fold."""
    from sklearn.model_selection import KFold

    everyone = np.arange(len(labels))
    if num_clients == 1:
        return [everyone]
    return [fold for _, fold in KFold(num_clients, shuffle=True, random_state=seed).split(everyone)]


def _dirichlet(labels: np.ndarray, num_clients: int, alpha: float, seed: int) -> list[np.ndarray]:
    """Label skew: each class is shared out by a draw of Dirichlet(alpha) (Hsu, Qi, Brown, arXiv 1909.06335)."""
    try:
        import datasets
        from flwr_datasets.partitioner import DirichletPartitioner
    except ImportError as error:
        raise MissingExtraError("flwr-datasets", "partitions") from error
    datasets.disable_progress_bars()
    partitioner = DirichletPartitioner(
        num_partitions=num_clients,
        partition_by="label",
        alpha=alpha,
        min_partition_size=1,
        self_balancing=False,
        seed=seed,
    )
    partitioner.dataset = datasets.Dataset.from_dict({"position": np.arange(len(labels)), "label": labels})
    try:
        return [np.asarray(partitioner.load_partition(client_id)["position"]) for client_id in range(num_clients)]
    except ValueError as error:
        raise DataError(
            f"client with no data: Dirichlet(alpha={alpha}) leaves one of {num_clients} clients empty; raise "
            f"clients.alpha or lower clients.total"
        ) from error


PARTITIONS: dict[str, Callable[[np.ndarray, int, float, int], list[np.ndarray]]] = {
    "iid": _iid,
    "dirichlet": _dirichlet,
}
