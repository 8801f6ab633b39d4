"""The account of a run against values by hand, closed forms and two accountants of its own kind."""

import math
import sys

import pytest

from heron.errors import ConfigError, MissingExtraError
from heron.privacy import Releases, hidden_epsilon, noise_for, seen_epsilon
from heron.privacy.accounting import gaussian_delta
from tests.reference.privacy import epsilon_by_convolution, epsilon_by_renyi, renyi

pytest.importorskip("dp_accounting")
DELTA = 1e-5
# 230 examples, batches of 32, 640 steps: the setting of the figures in docs/concepts/privacy.md.
RATE = 32 / 230


def test_renyi_divergence_of_a_gaussian_by_hand() -> None:
    """order * steps / (2 sigma^2) = 8 * 100 / 32."""
    assert renyi(8, 1.0, 4.0, 100) == pytest.approx(25.0)
    assert renyi(8, 1.0 - 1e-12, 4.0, 100) == pytest.approx(25.0)


def test_delta_of_a_gaussian_by_hand() -> None:
    """At epsilon 0 it is the total variation distance, 2 Phi(mu / 2) - 1."""
    assert gaussian_delta(0.0, 1.0) == pytest.approx(math.erf(0.5 / math.sqrt(2)))
    assert gaussian_delta(1.0, 0.0) == 0.0
    # Balle and Wang's noise for epsilon 1, delta 1e-5, sensitivity 1 is 3.7303 to four decimals.
    assert seen_epsilon(Releases(1, 1.0, 3.73063), DELTA) == pytest.approx(1.0, rel=1e-3)
    # mu = 1: T steps of sigma sqrt(T) are one of sigma 1.
    assert seen_epsilon(Releases(100, 1.0, 10.0), DELTA) == pytest.approx(seen_epsilon(Releases(1, 1.0, 1.0), DELTA))


@pytest.mark.parametrize("noise", [5.0, 13.2])
def test_without_sampling_the_library_agrees_with_the_closed_form(noise: float) -> None:
    import dp_accounting
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant(dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE)
    accountant.compose(dp_accounting.SelfComposedDpEvent(dp_accounting.GaussianDpEvent(noise), 89))
    assert seen_epsilon(Releases(89, 1.0, noise), DELTA) == pytest.approx(accountant.get_epsilon(DELTA), rel=1e-3)


@pytest.mark.parametrize(
    ("steps", "rate", "noise"),
    [
        (1, 0.3, 0.8),
        (20, 0.05, 1.0),
        (640, RATE, 5.0),
        pytest.param(640, RATE, 2.26, marks=pytest.mark.slow),
        pytest.param(640, RATE, 13.2, marks=pytest.mark.slow),
    ],
)
def test_hidden_batches_agree_with_two_accountants(steps: int, rate: float, noise: float) -> None:
    found = hidden_epsilon(Releases(steps, rate, noise), DELTA)
    assert found == pytest.approx(epsilon_by_convolution(rate, noise, steps, DELTA), rel=1e-3)
    assert found <= epsilon_by_renyi(rate, noise, steps, DELTA)


def test_the_hand_made_renyi_accountant_agrees_with_the_librarys() -> None:
    import dp_accounting
    from dp_accounting.rdp import RdpAccountant

    accountant = RdpAccountant(list(range(2, 128)), dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE)
    step = dp_accounting.PoissonSampledDpEvent(RATE, dp_accounting.GaussianDpEvent(5.0))
    accountant.compose(dp_accounting.SelfComposedDpEvent(step, 640))
    assert epsilon_by_renyi(RATE, 5.0, 640, DELTA) == pytest.approx(accountant.get_epsilon(DELTA), rel=1e-3)


def test_who_sees_the_batches_knows_more() -> None:
    for noise in (2.26, 5.0):
        releases = Releases(640, RATE, noise)
        hidden, seen = hidden_epsilon(releases, DELTA), seen_epsilon(releases, DELTA)
        assert hidden < seen
        # A mixture over the number of uses: above that of the mean number, below that of every step.
        assert seen_epsilon(Releases(89, 1.0, noise), DELTA) < seen < seen_epsilon(Releases(640, 1.0, noise), DELTA)


def test_figures_grow_with_steps_and_fall_with_noise() -> None:
    assert hidden_epsilon(Releases(0, RATE, 1.0), DELTA) == seen_epsilon(Releases(0, RATE, 1.0), DELTA) == 0.0
    by_steps = [hidden_epsilon(Releases(steps, RATE, 5.0), DELTA) for steps in (1, 10, 100)]
    assert by_steps == sorted(by_steps)
    # So little noise that nothing is claimed: the coarse bound, at once.
    assert hidden_epsilon(Releases(10, RATE, 0.1), DELTA) == seen_epsilon(Releases(10, RATE, 0.1), DELTA) > 100


@pytest.mark.parametrize(
    "epsilon", [pytest.param(1.0, marks=pytest.mark.slow), 3.0, pytest.param(8.0, marks=pytest.mark.slow)]
)
def test_the_noise_that_is_found_spends_the_budget_within_a_thousandth_below(epsilon: float) -> None:
    noise = noise_for(epsilon, lambda noise: hidden_epsilon(Releases(640, RATE, noise), DELTA))
    assert 0.999 * epsilon <= hidden_epsilon(Releases(640, RATE, noise), DELTA) <= epsilon
    noise = noise_for(epsilon, lambda noise: seen_epsilon(Releases(640, RATE, noise), DELTA))
    assert 0.999 * epsilon <= seen_epsilon(Releases(640, RATE, noise), DELTA) <= epsilon


@pytest.mark.parametrize("epsilon", [0.0, -1.0])
def test_no_budget_is_refused(epsilon: float) -> None:
    with pytest.raises(ConfigError, match=r"expected privacy\.epsilon above 0"):
        noise_for(epsilon, lambda _: 1.0)


def test_a_budget_that_no_noise_keeps_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a budget that some noise keeps"):
        noise_for(1e-3, lambda _: 1.0)


def test_the_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(MissingExtraError, match=r"'dp-accounting'.*pip install 'heron-sfl\[privacy\]'"):
        hidden_epsilon(Releases(7, 0.123, 4.5), DELTA)
