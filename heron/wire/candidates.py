"""Candidate directions, fixed for a whole run, in place of a new direction for every probe: FedKSeed's seed pool.

A probe draws one of K candidates, and all that a client did in a round is a sum of projected gradients for each. Plain
SGD commutes, so the parameters of any round are

    theta_t = theta_0 - sum_j S_j u_j,    S <- S + (eta / q) * weighted mean over clients of their sums

and whoever holds theta_0 gets there with K regenerations, whatever t (docs/methods.md, "Candidate directions").

`K` candidates, `P` probes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heron.arrays import Array, dtype_name, numpy_dtype, to_host
from heron.errors import ConfigError, MessageError
from heron.seeds import derive_seed
from heron.wire.groups import Probes
from heron.wire.kinds import to_kind_of
from heron.wire.learning import Learning
from heron.wire.walks import Theta
from heron.zo import SGD, FlatArrays, StepRecord, replay_

STANDING = "candidates.standing"
"""Name of the sums, and with `pro` sampling the probabilities, in a broadcast that holds theta_0."""
PROBABILITIES = "candidates.probabilities"
"""Name of the probabilities of a round's draws in the model that its broadcast stands for."""


class Candidates:
    """The K candidates of a run, the draws among them, and the replay of their sums.

    Args:
        learning: settings of the clients' learning.

    Attributes:
        size: K.
        seeds: seed of each candidate's direction.

    Raises:
        ConfigError: if there is no candidate.
    """

    def __init__(self, learning: Learning) -> None:
        settings, self.size = learning.settings, learning.candidates
        if not self.size:
            raise ConfigError("expected estimator.candidates of at least 1, found 0; raise it, or choose decomfl")
        self._learning = learning
        self._run_seed = settings.seed
        self.seeds = tuple(derive_seed("candidate", settings.seed, number) for number in range(self.size))

    def draw(
        self, place: tuple[int, int, int], num_probes: int, probabilities_K: Array | None = None
    ) -> tuple[int, ...]:
        """Draw the candidates of a local step, with replacement.

        Args:
            place: round, client and local step, of which the draws are a function.
            num_probes: q.
            probabilities_K: weight of each candidate; None for equal ones.
        """
        drawn = [derive_seed("candidate draw", self._run_seed, *place, probe) for probe in range(num_probes)]
        if probabilities_K is None:
            return tuple(value % self.size for value in drawn)
        steps_K = np.cumsum(to_host(probabilities_K).astype(np.float64))
        places = np.array(drawn, np.float64) / 2.0**64 * steps_K[-1]
        chosen = np.minimum(np.searchsorted(steps_K, places, side="right"), self.size - 1)
        return tuple(chosen.tolist())

    def reached(self, start: Theta, sums_K: NDArray[Any]) -> dict[str, Any]:
        """Return theta = theta_0 - sum_j S_j u_j, of the kind of `start`, which is only read.

        Args:
            start: theta_0.
            sums_K: S, with learning rates.
        """
        estimator = self._learning.estimator
        assert estimator is not None  # a client that draws candidates has probes
        flat = FlatArrays(start, kernel=self._learning.client.kernel)
        scalars_K = to_kind_of(sums_K.astype(scalar_dtype(start)), flat.theta)
        records = (
            StepRecord((self.seeds[number],), scalars_K[number : number + 1]) for number in np.flatnonzero(sums_K)
        )
        rule = SGD(1.0)
        replay_(rule, rule.init(flat.theta), flat, records, estimator.distribution)
        return flat.named_tensors()

    def parsed(self, standing: Array) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Divide what a broadcast holds into the sums S and the probabilities; None where the draws have equal ones.

        Before the first sums all probabilities are equal.

        Raises:
            MessageError: if it has another shape or type, or is not finite.
        """
        values, is_pro = to_host(standing), self._learning.settings.estimator.sampling == "pro"
        expected = (self.size * (1 + is_pro),)
        if values.shape != expected or values.dtype.kind != "f" or not bool(np.isfinite(values).all()):
            raise MessageError(
                f"expected sums of candidates as finite floats of shape {expected}, found {dtype_name(values)} "
                f"{values.shape[:8]}; both sides need the same estimator.candidates and sampling"
            )
        sums_K = values[: self.size]
        return sums_K, values[self.size :] if is_pro and sums_K.any() else None


def scalar_dtype(theta: Mapping[str, Array]) -> np.dtype[Any]:
    """Element type of the scalars that parameters take steps with: at least float32."""
    return np.promote_types(numpy_dtype(dtype_name(next(iter(theta.values())))), np.float32)


def binned(scalars_P: Array, drawn: Sequence[int], probes: Probes) -> NDArray[np.float32]:
    """Sum projected gradients by candidate: what a reply holds in their place.

    Args:
        scalars_P: projected gradients of a round, step after step.
        drawn: the candidate of each.
        probes: number of candidates, and how they are drawn.

    Returns:
        The sums, shape (K,), and with `pro` sampling those of the absolute values after them, shape (2K,).
    """
    values = to_host(scalars_P).astype(np.float64)
    parts = [values, abs(values)] if probes.sampling == "pro" else [values]
    sums = [np.bincount(drawn, weights=part, minlength=probes.candidates) for part in parts]
    return np.concat(sums).astype(np.float32)


def pro_probabilities(magnitudes_K: NDArray[np.float64], counts_K: NDArray[np.int64]) -> NDArray[np.float32]:
    """Probabilities of FedKSeed-Pro: the softmax of the mean |s| of each candidate, normalised to [0, 1].

    A candidate that nobody has drawn counts as the mean of the others.

    Args:
        magnitudes_K: sums of |s|.
        counts_K: number of draws.
    """
    drawn = counts_K > 0
    means = np.divide(magnitudes_K, counts_K, where=drawn, out=np.zeros(len(counts_K)))
    means[~drawn] = means[drawn].mean() if drawn.any() else 0.0
    spread = means.max() - means.min()
    weights = np.exp((means - means.min()) / spread) if spread > 0 else np.ones(len(means))
    probabilities: NDArray[np.float32] = (weights / weights.sum()).astype(np.float32)
    return probabilities
