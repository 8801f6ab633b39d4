"""Partitions of a data set among clients."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from heron.data.quiet import quiet_libraries
from heron.data.splits import library_seed
from heron.errors import DataError, MissingExtraError
from heron.ranges import MisfitError, fitting, shown


@dataclass(frozen=True)
class _Request:
    """Input of a kind of partition: the arguments of `partition`, checked, and a 32-bit seed."""

    labels: np.ndarray
    groups: np.ndarray | None
    num_clients: int
    alpha: float
    seed: int


def partition(
    kind: str,
    labels: np.ndarray,
    *,
    num_clients: int,
    alpha: float,
    seed: int,
    groups: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Partition examples among clients; the result depends only on the arguments.

    Args:
        kind: key of `PARTITIONS`.
        labels: class of every example, shape (n,); only `dirichlet` needs more than their number.
        num_clients: N, in [1, n].
        alpha: concentration of `dirichlet`, > 0; small values are skewed. The other kinds ignore it.
        seed: a run's seed or one made by `derive_seed`, in [-2**63, 2**64). `natural` ignores it.
        groups: owner of each example, integers of shape (n,) with at least N different values; for `natural` only.

    Returns:
        Each client's positions, int64, ascending, at least one; disjoint, and all of them together. If the draw of
        `dirichlet` leaves a client empty, one example is moved to it from the client that has most.

    Raises:
        DataError: if the kind is unknown, a number is none or out of range, there are fewer examples or groups than
            clients, or the labels or groups do not fit the kind.
        MissingExtraError: if the kind is `dirichlet` and the extra `partitions` is not installed.
    """
    num_clients, seed = _number("num_clients", int, num_clients), _number("seed", int, seed)
    alpha = _number("alpha", float, alpha)
    labels, groups = np.asarray(labels), None if groups is None else np.asarray(groups)
    if not isinstance(kind, str) or kind not in PARTITIONS:
        raise DataError(f"unknown partition {shown(kind)}; set clients.partition to one of: {', '.join(PARTITIONS)}")
    if num_clients < 1:
        raise DataError(f"expected at least 1 client, found {num_clients}; raise clients.total")
    if not (alpha > 0 and math.isfinite(alpha)):
        raise DataError(f"expected a finite alpha > 0, found {alpha}; set clients.alpha, 0.5 for marked skew")
    if num_clients > len(labels):
        raise DataError(
            f"client with no data: {num_clients} clients share {len(labels)} examples; lower clients.total to at most "
            f"{len(labels)}, or use more examples"
        )
    shares = PARTITIONS[kind](_Request(labels, groups, num_clients, alpha, library_seed("partition", seed)))
    return _none_empty([np.sort(share).astype(np.int64) for share in shares])


def _number(name: str, kind: type, value: Any) -> Any:
    """The value as a number of a kind, or a refusal by name."""
    try:
        return fitting(kind, value)
    except MisfitError as misfit:
        raise DataError(f"{name}: {misfit}") from None


def _iid(request: _Request) -> list[np.ndarray]:
    """Shuffle, then cut into runs of nearly equal length: the test folds of scikit-learn's shuffled K-fold."""
    order = np.arange(len(request.labels))
    np.random.RandomState(request.seed).shuffle(order)
    return np.array_split(order, request.num_clients)


def _dirichlet(request: _Request) -> list[np.ndarray]:
    """Skew the labels: each class is divided by a draw of Dirichlet(alpha) (Hsu, Qi, Brown, arXiv 1909.06335)."""
    try:
        import datasets
        from flwr_datasets.partitioner import DirichletPartitioner
    except ImportError as error:
        raise MissingExtraError("flwr-datasets", "partitions") from error
    labels = request.labels
    if labels.ndim != 1 or labels.dtype.kind not in "iub":
        raise DataError(
            f"expected one integer class an example for clients.partition dirichlet, found labels of shape "
            f"{labels.shape} and type {labels.dtype}; use iid or natural"
        )
    with quiet_libraries():
        partitioner = DirichletPartitioner(
            num_partitions=request.num_clients,
            partition_by="label",
            alpha=request.alpha,
            min_partition_size=0,
            self_balancing=False,
            seed=request.seed,
        )
        partitioner.dataset = datasets.Dataset.from_dict({"position": np.arange(len(labels)), "label": labels})
        shares = [partitioner.load_partition(client_id)["position"] for client_id in range(request.num_clients)]
    return [np.asarray(share, dtype=np.int64) for share in shares]


def _natural(request: _Request) -> list[np.ndarray]:
    """Assign whole groups, largest first, each to the client with the fewest examples so far (Graham, 1969).

    The first of equal clients is chosen. flwr-datasets cannot do this: its NaturalIdPartitioner makes every group a
    part, and its GroupedNaturalIdPartitioner fixes the number of groups per part, which rules out some numbers of parts
    (10 of 34 groups, for example) and ignores the sizes.
    """
    num_clients = request.num_clients
    _, group_n, sizes = np.unique(_groups(request), return_inverse=True, return_counts=True)
    if len(sizes) < num_clients:
        raise DataError(
            f"client with no data: {num_clients} clients share {len(sizes)} whole groups; lower clients.total to at "
            f"most {len(sizes)}, or use clients.partition iid"
        )
    owners, held = np.empty(len(sizes), dtype=np.int64), np.zeros(num_clients, dtype=np.int64)
    for group in np.argsort(-sizes, kind="stable"):
        owners[group] = held.argmin()
        held[owners[group]] += sizes[group]
    return [np.flatnonzero(owners[group_n] == client_id) for client_id in range(num_clients)]


def _groups(request: _Request) -> np.ndarray:
    groups, num_examples = request.groups, len(request.labels)
    if groups is None:
        raise DataError(
            "expected data with groups for clients.partition natural, found none; use iid, or data that have "
            "groups, such as e2e"
        )
    if groups.shape != (num_examples,) or groups.dtype.kind not in "iu":
        raise DataError(
            f"expected one integer group for each of {num_examples} examples, found groups of shape {groups.shape} and "
            f"type {groups.dtype}; number the groups"
        )
    return groups


def _none_empty(shares: list[np.ndarray]) -> list[np.ndarray]:
    """Move one example to each empty client, the last one of the client that has most (the first such client)."""
    for client_id, share in enumerate(shares):
        if len(share) == 0:
            richest = max(range(len(shares)), key=lambda other: len(shares[other]))
            shares[client_id], shares[richest] = shares[richest][-1:], shares[richest][:-1]
    return shares


PARTITIONS: dict[str, Callable[[_Request], list[np.ndarray]]] = {
    "iid": _iid,
    "dirichlet": _dirichlet,
    "natural": _natural,
}
"""Partitions by name, the values of `clients.partition`."""
