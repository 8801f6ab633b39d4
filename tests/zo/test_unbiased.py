"""Gradient estimates are right on average, with the variance that theory gives: no factor d but on the sphere.

Estimates come from the library as a user gets them: probes, then one SGD step with learning rate 1. Means are judged
within four standard errors, and the standard errors are small enough to tell a factor of 1.5.
"""

import numpy as np
import pytest
import torch

from heron.seeds import derive_seed
from heron.zo import DISTRIBUTIONS, SCHEMES, SGD, Estimator, FlatParameters, Scheme, StepRecord
from heron.zo.stream import Distribution
from tests.reference import estimators as reference
from tests.reference import stream as reference_stream
from tests.reference.problems import Quadratic

D = 8
NUM_PROBES_IN_ALL = 1200


def setup_module() -> None:
    torch.set_num_threads(1)


def estimates(problem: Quadratic, estimator: Estimator) -> np.ndarray:
    """Gradient estimates at one point that take `NUM_PROBES_IN_ALL` probes together, shape (n, d)."""
    flat, rule = FlatParameters(problem), SGD(1.0)
    start = flat.theta.clone()
    clean, state = problem().detach(), rule.init(start)
    rows = []
    for n in range(NUM_PROBES_IN_ALL // estimator.num_probes):
        seeds = tuple(derive_seed("direction", n, probe) for probe in range(estimator.num_probes))
        record = StepRecord(seeds, estimator.projected_gradients(flat, problem, seeds, clean))
        rule.replay_(state, flat, [record], estimator.distribution)
        rows.append(start - flat.theta)
        flat.load_({"x": start})
    return torch.stack(rows).numpy()


def assert_mean(rows: np.ndarray, expected: np.ndarray) -> None:
    standard_error = rows.std(axis=0, ddof=1) / np.sqrt(len(rows))
    assert np.linalg.norm(standard_error) < np.linalg.norm(expected) / 8
    assert (np.abs(rows.mean(axis=0) - expected) < 4.0 * standard_error).all()


@pytest.mark.parametrize("curvature", [0.0, 1.0], ids=["linear", "quadratic"])
@pytest.mark.parametrize("num_probes", [1, 4])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_every_estimator_is_unbiased(
    distribution: Distribution, scheme: Scheme, num_probes: int, curvature: float
) -> None:
    """The curvature bias of one side, (mu/2) (u^T H u) u, is odd in u: it vanishes on average."""
    problem = Quadratic(D, seed=3, curvature=curvature)
    estimator = Estimator(mu=0.1, num_probes=num_probes, distribution=distribution, scheme=scheme)
    assert_mean(estimates(problem, estimator), problem.gradient().numpy())


@pytest.mark.parametrize("num_probes", [1, 4])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_variance(distribution: Distribution, num_probes: int) -> None:
    """On a linear loss E|g_hat - g|^2 = (d - 1) |g|^2 / P for Rademacher and (d + 1) |g|^2 / P for Gaussians."""
    problem = Quadratic(D, seed=3, curvature=0.0)
    gradient = problem.gradient().numpy()
    rows = estimates(problem, Estimator(mu=0.1, num_probes=num_probes, distribution=distribution))
    errors = ((rows - gradient) ** 2).sum(axis=1)
    expected = (D + (1 if distribution == "gaussian" else -1)) * (gradient @ gradient) / num_probes
    assert abs(errors.mean() - expected) < 4.0 * errors.std(ddof=1) / np.sqrt(len(errors))
    assert errors.std(ddof=1) / np.sqrt(len(errors)) < expected / 12


@pytest.mark.parametrize("curvature", [0.0, 1.0], ids=["linear", "quadratic"])
def test_the_sphere_needs_the_factor_d(curvature: float) -> None:
    problem = Quadratic(D, seed=3, curvature=curvature)
    theta, gradient = problem.x.detach().numpy(), problem.gradient().numpy()
    rng = np.random.default_rng(1)
    directions = [reference.on_unit_sphere(rng, D) for _ in range(4 * NUM_PROBES_IN_ALL)]
    for factor, expected in [(float(D), gradient), (1.0, gradient / D)]:
        rows = [reference.sphere_estimate(problem.numpy_loss, theta, v, 0.1, factor=factor) for v in directions]
        assert_mean(np.stack(rows), expected)


@pytest.mark.parametrize("d", [4, 16, 64])
def test_sphere_radius_mu_is_rademacher_radius_mu_over_root_d(d: int) -> None:
    """`u / sqrt(d)` lies on the unit sphere, and `(d/mu) D (u/sqrt(d)) = (sqrt(d)/mu) D u`: the same estimate."""
    problem, mu = Quadratic(d), 0.3
    theta = problem.x.detach().numpy().copy()
    flat = FlatParameters(problem)
    for seed in range(5):
        s = Estimator(mu=mu / d**0.5).projected_gradients(flat, problem, [seed], problem())
        u = reference_stream.rademacher(seed, 0, d)
        on_sphere = reference.sphere_estimate(problem.numpy_loss, theta, u / d**0.5, mu, factor=d)
        np.testing.assert_allclose(s.numpy() * u, on_sphere, rtol=1e-10)


def test_sphere_radius_mu_smooths_like_gaussian_radius_mu_over_root_d() -> None:
    """E[l(theta + mu v) - l(theta)] = mu^2 tr(H) / (2 d) on the sphere: so it is for Gaussians of radius mu/sqrt(d)."""
    mu, n = 2.0, 2000
    problem = Quadratic(D, seed=3)
    theta, clean = problem.x.detach().numpy().copy(), problem().detach()
    expected = mu**2 * float(problem.hessian.trace()) / (2 * D)
    rng = np.random.default_rng(2)
    sphere = np.array(
        [problem.numpy_loss(theta + mu * reference.on_unit_sphere(rng, D)) - clean.item() for _ in range(n)]
    )
    flat, radius = FlatParameters(problem), mu / D**0.5
    estimator = Estimator(mu=radius, num_probes=n, distribution="gaussian")
    gaussian = radius * estimator.projected_gradients(flat, problem, range(n), clean).numpy()
    for rises in (sphere, gaussian):
        standard_error = rises.std(ddof=1) / np.sqrt(n)
        assert standard_error < expected / 8
        assert abs(rises.mean() - expected) < 4.0 * standard_error
