"""Accounting: what a number of noised releases says about one example, and the noise that keeps it below a budget.

All figures are (epsilon, delta) of example-level differential privacy: in one of two worlds one example of one client
contributes nothing in its place. The client's number of examples n is the same in both and is not hidden: the sampling
rate and the passes depend on it. Who looks matters.

- To those who do NOT see which examples a batch has, an example is in a step with probability r, by Poisson sampling
  from the device's secret. The privacy loss of T such steps is composed numerically by `dp-accounting` (Doroshenko et
  al., PoPETs 2022), pessimistically: a figure is an upper bound.
- To those who see it, an example is in K ~ Binomial(T, r) steps and they know K, so that

      delta(eps) = sum_k P(K = k) delta_Gauss(eps; sqrt(k) / s)

  exactly, with the curve of the Gaussian mechanism (Balle and Wang, ICML 2018). Nothing is amplified.
- In shuffled passes an example is in a fixed number of steps, for everybody.
"""

import importlib.util
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from heron.errors import ConfigError, MissingExtraError

_TOLERANCE = 1e-3  # a calibrated noise spends at most so much less than its budget
_PRECISION = 1e-9
_LARGEST = 1e6
_LEAST_MASS = 1e-30
_KEPT = 1024  # results, which depend on nothing else
# Grid of privacy losses: a figure is then at most some 2e-4 of itself too large, in a third of the default's time.
_COARSEST, _COARSEST_TIMES_NOISE = 3e-4, 1e-3
_LEAST_COMPOSED = 0.2  # below this noise the numerical composition takes long, and its figure would claim nothing


@dataclass(frozen=True)
class Releases:
    """The releases of one client, as far as an account of them goes.

    Attributes:
        steps: number of steps with a release each, T >= 0.
        rate: probability that an example is in a step, in (0, 1]; 1 where `steps` counts the uses of an example.
        noise: standard deviation of the noise over the clip, > 0.
    """

    steps: int
    rate: float
    noise: float


def hidden_epsilon(releases: Releases, delta: float) -> float:
    """Compute epsilon against those who do not see which examples a batch has.

    Args:
        releases: of one client.
        delta: probability that the bound may fail with, in (0, 1).

    Returns:
        An upper bound; that of those who see it where the noise is so small that nothing is claimed.

    Raises:
        MissingExtraError: if `dp-accounting` is not installed.
    """
    if not releases.steps or releases.rate == 1.0 or releases.noise < _LEAST_COMPOSED:
        return seen_epsilon(releases, delta)
    return min(_composed(releases, delta), seen_epsilon(releases, delta))


def seen_epsilon(releases: Releases, delta: float) -> float:
    """Compute epsilon against those who see which examples each batch has.

    Args:
        releases: of one client.
        delta: probability that the bound may fail with, in (0, 1).
    """
    counts = _binomial(releases.steps, releases.rate)

    def exceeds(epsilon: float) -> bool:
        curve = (mass * gaussian_delta(epsilon, math.sqrt(count) / releases.noise) for count, mass in counts)
        return math.fsum(curve) > delta

    return _smallest(exceeds)


def gaussian_delta(epsilon: float, distance: float) -> float:
    """Compute delta of the Gaussian mechanism (Balle and Wang, ICML 2018, theorem 8).

    Args:
        epsilon: >= 0.
        distance: sensitivity over the standard deviation of the noise, >= 0.
    """
    if distance == 0.0:
        return 0.0
    upper = 0.5 * math.erfc((epsilon / distance - distance / 2.0) / math.sqrt(2.0))
    lower = 0.5 * math.erfc((epsilon / distance + distance / 2.0) / math.sqrt(2.0))
    return max(0.0, upper - (math.exp(epsilon + math.log(lower)) if lower > 0.0 else 0.0))


def check_accountant() -> None:
    """Check early that figures against those who do not see the batches can be computed.

    Raises:
        MissingExtraError: if `dp-accounting` is not installed.
    """
    if importlib.util.find_spec("dp_accounting") is None:
        raise MissingExtraError("dp-accounting", "privacy")


def noise_for(epsilon: float, spent: Callable[[float], float]) -> float:
    """Find the noise that spends a budget: its epsilon is at most the budget, and at most 0.1% below it.

    Args:
        epsilon: the budget, > 0.
        spent: computes epsilon from the noise; falls as the noise grows.

    Raises:
        ConfigError: if no noise below a million keeps the budget.
    """
    if epsilon <= 0.0:
        raise ConfigError(f"expected privacy.epsilon above 0, found {epsilon:g}; set a budget, e.g. 3")
    high, at_high = 1.0, spent(1.0)
    while at_high > epsilon:
        high *= 2.0
        if high > _LARGEST:
            raise ConfigError(f"expected a budget that some noise keeps, found epsilon {epsilon:g}; raise it")
        at_high = spent(high)
    low, at_low = high / 2.0, spent(high / 2.0)
    while at_low <= epsilon:
        low, at_low, high, at_high = low / 2.0, spent(low / 2.0), low, at_low
        if low < 1.0 / _LARGEST:
            return high  # nothing is released, or the budget is beyond all meaning
    while at_high < (1.0 - _TOLERANCE) * epsilon and high > low * (1.0 + _PRECISION):
        middle = _between(low, high, at_low, at_high, (1.0 - 0.5 * _TOLERANCE) * epsilon)
        at_middle = spent(middle)
        if at_middle > epsilon:
            low, at_low = middle, at_middle
        else:
            high, at_high = middle, at_middle
    return high


def _between(low: float, high: float, at_low: float, at_high: float, wanted: float) -> float:
    """Guess where epsilon is as wanted: it is nearly a power of the noise; not close to either end."""
    share = 0.5
    if 0.0 < at_high < at_low < math.inf:
        share = math.log(at_low / wanted) / math.log(at_low / at_high)
    return low * math.pow(high / low, min(max(share, 0.02), 0.98))


@lru_cache(maxsize=_KEPT)
def _composed(releases: Releases, delta: float) -> float:
    check_accountant()
    import dp_accounting
    from dp_accounting.pld import PLDAccountant

    step = dp_accounting.PoissonSampledDpEvent(releases.rate, dp_accounting.GaussianDpEvent(releases.noise))
    interval = min(_COARSEST, _COARSEST_TIMES_NOISE / releases.noise)
    relation = dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
    accountant = PLDAccountant(relation, value_discretization_interval=interval)
    accountant.compose(dp_accounting.SelfComposedDpEvent(step, releases.steps))
    return float(accountant.get_epsilon(delta))


@lru_cache(maxsize=_KEPT)
def _binomial(steps: int, rate: float) -> tuple[tuple[int, float], ...]:
    """Counts of a binomial distribution with their mass, without those whose mass is far below any delta."""
    if rate >= 1.0:
        return ((steps, 1.0),)

    def log_mass(count: int) -> float:
        ways = math.lgamma(steps + 1) - math.lgamma(count + 1) - math.lgamma(steps - count + 1)
        return ways + count * math.log(rate) + (steps - count) * math.log1p(-rate)

    masses = [(count, math.exp(log_mass(count))) for count in range(steps + 1)]
    return tuple((count, mass) for count, mass in masses if mass > _LEAST_MASS)


def _smallest(exceeds: Callable[[float], bool]) -> float:
    """Find the smallest epsilon that does not exceed a delta, from above."""
    if not exceeds(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while exceeds(high):
        low, high = high, 2.0 * high
        if high > _LARGEST:
            return math.inf
    while high - low > _PRECISION * high:
        middle = 0.5 * (low + high)
        if exceeds(middle):
            low = middle
        else:
            high = middle
    return high
