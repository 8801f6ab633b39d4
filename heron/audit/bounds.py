"""Empirical lower bounds on epsilon: what an attack that has succeeded so often proves about a claim.

In one world a canary is among the examples, in the other it is not. For every event E of what is released,
(epsilon, delta)-differential privacy says P(E | there) <= e^epsilon P(E | not) + delta, and the same the other way.
With E chosen on one half of the trials and counted on the other, Clopper and Pearson's intervals give, with 95%
confidence,

    epsilon >= log( (P(E | there) - delta) / P(E | not) )

(Jagielski et al., NeurIPS 2020). A bound below a claim proves nothing; one above it proves the claim wrong. It needs
many trials. Few suffice for another question: if what is released is Gaussian, how far apart can the two worlds be at
least, in standard deviations (Nasr et al., USENIX Security 2023)?
"""

import math

import numpy as np
from numpy.typing import NDArray

_CONFIDENCE = 0.95
_SURE = 0.999  # of the distance, which is close to the truth: a false alarm would be frequent otherwise
_THRESHOLDS = 60
_FALSE = 4.0  # this number is added to events that should not happen: the choice shall not fall on luck


def epsilon_bound(there: NDArray[np.float64], absent: NDArray[np.float64], delta: float) -> float:
    """Compute a lower bound on epsilon.

    Args:
        there: scores of independent trials with the canary, shape (N,); an attacker takes a large one for its presence.
        absent: scores of as many without it, shape (N,).
        delta: of the claim.

    Returns:
        The bound, at least 0.
    """
    half = min(len(there), len(absent)) // 2
    first, second = (there[:half], absent[:half]), (there[half : 2 * half], absent[half : 2 * half])
    candidates = []
    for sign, (likely, unlikely) in ((1.0, first), (-1.0, first[::-1])):
        scores, others = sign * likely, sign * unlikely
        for threshold in np.unique(np.quantile(scores, 1.0 - np.geomspace(2.0 / half, 1.0, _THRESHOLDS))):
            found, false = (scores >= threshold).mean(), (others >= threshold).mean()
            gain = math.log(max(found - delta, 1e-12) / (false + _FALSE / half))
            candidates.append((gain, sign, float(threshold)))
    _, sign, threshold = max(candidates)
    likely, unlikely = second if sign > 0 else second[::-1]
    hits, false = (int((sign * scores >= threshold).sum()) for scores in (likely, unlikely))
    least, most = interval(hits, half)[0], interval(false, half)[1]
    return max(0.0, math.log(max(least - delta, 1e-300) / most))


def gaussian_distance(there: NDArray[np.float64], absent: NDArray[np.float64]) -> float:
    """Compute a lower bound on the distance of two normal distributions of equal spread, in standard deviations.

    Args:
        there: scores of independent trials in one world, shape (N,).
        absent: scores in the other, shape (N,); each may depend on its partner, which then says more of the means.

    Returns:
        The bound, with 99.9% confidence; at least 0, and infinite where nothing varies.
    """
    from scipy.stats import chi2, norm

    count, tail = len(there), (1.0 - _SURE) / 2.0
    apart = there - absent
    least = float(apart.mean() - norm.ppf(1.0 - tail) * apart.std(ddof=1) / math.sqrt(count))
    spread = math.sqrt(0.5 * (there.var(ddof=1) + absent.var(ddof=1)))
    most = spread * math.sqrt((count - 1) / float(chi2.ppf(tail, count - 1)))
    if least <= 0.0:
        return 0.0
    return least / most if most > 0.0 else math.inf


def interval(successes: int, trials: int, confidence: float = _CONFIDENCE) -> tuple[float, float]:
    """Compute Clopper and Pearson's interval of a probability.

    Args:
        successes: k.
        trials: n, at least 1.
        confidence: that the probability is within, in (0, 1).

    Examples:
        >>> tuple(round(end, 4) for end in interval(0, 100))
        (0.0, 0.0362)
    """
    from scipy.stats import beta

    tail = (1.0 - confidence) / 2.0
    least = float(beta.ppf(tail, successes, trials - successes + 1)) if successes else 0.0
    most = float(beta.ppf(1.0 - tail, successes + 1, trials - successes)) if successes < trials else 1.0
    return least, most
