"""What a client adds to a sum under masks, as one vector: both sides know where everything is in it.

    scalars, weighted | tensors that travel next to them, weighted | local loss | weight

A client that made fewer steps adds 0 in those it lacks. `P` scalars of a full round, `D` values in all.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heron.arrays import Array, numpy_dtype, to_host
from heron.errors import MessageError
from heron.privacy.masks.fixed_point import from_fixed, to_fixed
from heron.privacy.masks.keys import NUM_BYTES
from heron.wire.learning import Learning
from heron.wire.terms import TensorTerm, Terms

_FACTS = 2
_NUMBER_BYTES = 8


@dataclass(frozen=True)
class Addends:
    """Addends of one client, or the sum of several clients' addends.

    Attributes:
        scalars_P: weighted projected gradients, step after step.
        tensors: weighted tensors by name.
        loss: the local loss; 0 where none is sent.
        weight: of the client in the mean.
    """

    scalars_P: NDArray[np.float64]
    tensors: Mapping[str, NDArray[np.float64]]
    loss: float
    weight: float


@dataclass(frozen=True)
class SumForm:
    """Form of the vector.

    Attributes:
        num_scalars: P.
        tensors: those that travel next to the scalars.
        num_members: number of clients that may take part in a sum.
    """

    num_scalars: int
    tensors: tuple[TensorTerm, ...]
    num_members: int

    @classmethod
    def of(cls, terms: Terms, learning: Learning) -> "SumForm":
        """Return the form that a run's terms give.

        Args:
            terms: of the run.
            learning: how its clients learn.
        """
        estimator, clients = learning.estimator, terms.settings.clients
        assert estimator is not None  # replies hold scalars
        sent = set(terms.sent_back)
        return cls(
            terms.settings.client.local_steps * estimator.num_probes,
            tuple(term for term in terms.tensors if term.name in sent),
            clients.per_round or clients.total,
        )

    @property
    def length(self) -> int:
        """Number of values, D."""
        return self.num_scalars + sum(math.prod(term.shape) for term in self.tensors) + _FACTS

    def packed(self, scalars: Array, tensors: Mapping[str, Array], *, loss: float, weight: int) -> NDArray[np.int64]:
        """Write what a client adds, in fixed point, shape (D,).

        Args:
            scalars: projected gradients of the steps that it made, at most P.
            tensors: by name.
            loss: mean local loss; NaN where none is sent.
            weight: of the client in the mean, >= 1.

        Raises:
            TrainingError: if a value is not finite, or too large to be added up.
        """
        values_D = np.zeros(self.length)
        made = to_host(scalars)
        values_D[: len(made)] = made
        start = self.num_scalars
        for term in self.tensors:
            stop = start + math.prod(term.shape)
            values_D[start:stop] = to_host(tensors[term.name]).astype(np.float64).reshape(-1)
            start = stop
        values_D *= weight
        values_D[start:] = (0.0 if math.isnan(loss) else loss), weight
        return to_fixed(values_D, self.num_members)

    def unpacked(self, total_D: NDArray[np.int64]) -> Addends:
        """Read a sum.

        Args:
            total_D: of what `packed` returned.
        """
        values_D = from_fixed(total_D)
        tensors, start = {}, self.num_scalars
        for term in self.tensors:
            stop = start + math.prod(term.shape)
            tensors[term.name] = values_D[start:stop].reshape(term.shape)
            start = stop
        return Addends(values_D[: self.num_scalars], tensors, float(values_D[start]), float(values_D[start + 1]))

    def mean_tensors(self, sums: list[Addends], weight: float) -> dict[str, NDArray[Any]]:
        """Divide sums of tensors by a weight, in the element types of the terms.

        Args:
            sums: of the seed groups.
            weight: of all of them.
        """
        return {
            term.name: np.asarray(sum(one.tensors[term.name] for one in sums) / weight, numpy_dtype(term.dtype))
            for term in self.tensors
        }


def rows_of(array: Array, shape: tuple[int, int], what: str) -> list[bytes]:
    """Read the rows of an array of bytes that came over a wire.

    Args:
        array: a stranger's.
        shape: that it has to have.
        what: its name, for messages.

    Raises:
        MessageError: if it is none of that shape.
    """
    content = to_host(array)
    if content.dtype != np.uint8 or content.shape != shape:
        raise MessageError(f"{what}: expected bytes of shape {shape}, found {content.dtype} {content.shape[:8]}")
    return [row.tobytes() for row in content]


def to_rows(rows: list[bytes], width: int) -> NDArray[np.uint8]:
    """Write rows of bytes as an array.

    Args:
        rows: of one length.
        width: that length.
    """
    return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, width)


def peers_of(array: Array, what: str) -> dict[int, bytes]:
    """Read numbers and public keys of clients.

    Args:
        array: a stranger's.
        what: its name, for messages.

    Raises:
        MessageError: if it is not what `peer_rows` writes.
    """
    rows = rows_of(array, (array.shape[0] if array.shape else 0, _NUMBER_BYTES + NUM_BYTES), what)
    return {int.from_bytes(row[:_NUMBER_BYTES], "little"): row[_NUMBER_BYTES:] for row in rows}


def peer_rows(keys: Mapping[int, bytes]) -> NDArray[np.uint8]:
    """Write numbers and public keys of clients, shape (k, 40).

    Args:
        keys: k public keys by number.
    """
    rows = [number.to_bytes(_NUMBER_BYTES, "little") + key for number, key in keys.items()]
    return to_rows(rows, _NUMBER_BYTES + NUM_BYTES)
