"""A round of zeroth-order learning as the values that determine it: directions and projected gradients along them.

A client that learned from h q probes made a walk: SGD, momentum or an Adam that starts afresh, along directions that
are a function of (run seed, round, schedule, local step, probe). The schedule is the client's own number or, where
clients share directions, that of its seed group. From the round's broadcast and its scalars anyone rebuilds what the
client became, bit for bit (docs/methods.md, "Seeds and scalars").

`P` probes of all local steps, h q.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heron.arrays import Array, dtype_name, numpy_dtype
from heron.seeds import derive_seed
from heron.wire.averaging import RunningMean
from heron.wire.kinds import to_kind_of
from heron.wire.learning import Learning
from heron.zo import RULES, FlatArrays, StepRecord, UpdateRule, replay_

Theta = Mapping[str, Array]
"""Arrays that learn by zeroth order, by name, in the order of the flat buffer; all of one kind."""


def direction_seeds(
    run_seed: int, round_index: int, schedule: int, local_step: int, num_probes: int
) -> tuple[int, ...]:
    """Seeds of the q directions of a local step."""
    place = (run_seed, round_index, schedule, local_step)
    return tuple(derive_seed("direction", *place, probe) for probe in range(num_probes))


def schedule_of(client_id: int, seed_groups: int) -> int:
    """Number of a client's directions: its own, or with G >= 1 seed groups that of group `client_id mod G`."""
    return client_id % seed_groups if seed_groups else client_id


@dataclass(frozen=True)
class Walk:
    """One walk of a round.

    Attributes:
        schedule: number of the directions, as of `schedule_of`.
        weight: weight in the round's mean, > 0; where seed groups are summed the mean is taken already.
        scalars_P: projected gradients, step after step, one for each of its q probes, shape (P,); on the host.
    """

    schedule: int
    weight: int
    scalars_P: NDArray[Any]


@dataclass(frozen=True)
class RoundWalks:
    """Walks of a round's clients, or the summed walks of seed groups.

    Attributes:
        round_index: t, from 0.
        walks: in the order in which they count.
    """

    round_index: int
    walks: tuple[Walk, ...]


def summed(walks: Sequence[Walk], dtype: str) -> list[Walk]:
    """The weighted mean of walks, as one walk for each schedule; a walk with fewer steps counts 0 in those it lacks.

    Args:
        walks: of clients, weights as replies count.
        dtype: name of the floating type of theta, which the sums come back in, or in float32 if it is narrower; they
            are made in float64.
    """
    total = sum(walk.weight for walk in walks)
    sums: dict[int, NDArray[np.float64]] = {}
    for walk in walks:
        terms_P = walk.scalars_P.astype(np.float64) * (walk.weight / total)
        held_P = sums.get(walk.schedule, np.zeros(0))
        longer, shorter = sorted((held_P, terms_P), key=len, reverse=True)
        sums[walk.schedule] = np.concat((longer[: len(shorter)] + shorter, longer[len(shorter) :]))
    return [Walk(schedule, 1, sum_P.astype(_scalar_dtype(dtype))) for schedule, sum_P in sums.items()]


def _scalar_dtype(dtype: str) -> np.dtype[Any]:
    """Element type of the scalars that parameters of a type take steps with: at least float32."""
    return np.promote_types(numpy_dtype(dtype), np.float32)


class Replayer:
    """Rebuilds theta from walks; the same on the Fed Server and on a client that missed rounds.

    Args:
        learning: settings of the clients' learning: update rule, learning rates, probes, seed groups and seed.
    """

    def __init__(self, learning: Learning) -> None:
        estimator = learning.estimator
        assert estimator is not None  # a client that replays has probes
        self._run_seed = learning.settings.seed
        self._seed_groups = learning.settings.seed_groups
        self._learning = learning
        self.num_probes = estimator.num_probes
        self._distribution = estimator.distribution

    def advance(self, theta: Theta, done: RoundWalks) -> dict[str, Any]:
        """Theta of the next round, of the kind of `theta`: the mean of what the clients became.

        With seed groups, whose rule is SGD, it is one walk along the summed scalars:
        theta - (eta / q) sum_m sum_g S_{g,m} u_{g,m}, S_{g,m} = sum over clients i of group g of w_i s_{i,m}, the
        weights w summing to 1.
        """
        if not done.walks:
            return dict(theta)
        if self._seed_groups:
            return self._followed(theta, done.round_index, done.walks)
        mean = RunningMean()
        for walk in done.walks:
            mean.add(self._followed(theta, done.round_index, [walk]), float(walk.weight))
        return mean.take()

    def _followed(self, theta: Theta, round_index: int, walks: Sequence[Walk]) -> dict[str, Any]:
        """Take these walks, one after the other; `theta` is only read."""
        flat = FlatArrays(theta, kernel=self._learning.client.kernel)
        rule: UpdateRule = RULES[self._learning.client.optimizer](self._learning.rate(round_index))
        q, dtype = self.num_probes, _scalar_dtype(dtype_name(flat.theta))
        records = [
            StepRecord(
                direction_seeds(self._run_seed, round_index, walk.schedule, start // q, q),
                to_kind_of(walk.scalars_P[start : start + q].astype(dtype), flat.theta),
            )
            for walk in walks
            for start in range(0, len(walk.scalars_P), q)
        ]
        replay_(rule, rule.init(flat.theta), flat, records, self._distribution)
        return flat.named_tensors()
