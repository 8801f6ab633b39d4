"""Two-point estimates as printed, and the unit-sphere estimator to show where the factor d belongs.

HERON-SFL (Kou et al., arXiv 2601.09076), Eq. 2: `(d / mu) [l(theta + mu v) - l(theta)] v` for v uniform on the unit
sphere, where E[v v^T] = I / d. Rademacher and Gaussian directions have E[u u^T] = I and take no factor.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Loss = Callable[[Vector], float]


def one_sided(loss: Loss, theta: Vector, u: Vector, mu: float) -> float:
    return (loss(theta + mu * u) - loss(theta)) / mu


def central(loss: Loss, theta: Vector, u: Vector, mu: float) -> float:
    return (loss(theta + mu * u) - loss(theta - mu * u)) / (2.0 * mu)


def estimate(projected_gradients: Sequence[float], directions: Sequence[Vector]) -> Vector:
    """`(1/P) sum_p s_p u_p`."""
    total = np.zeros_like(directions[0])
    for s, u in zip(projected_gradients, directions, strict=True):
        total = total + s * u
    return total / len(directions)


def on_unit_sphere(rng: np.random.Generator, d: int) -> Vector:
    v = rng.standard_normal(d)
    return v / np.linalg.norm(v)


def sphere_estimate(loss: Loss, theta: Vector, v: Vector, mu: float, *, factor: float) -> Vector:
    """Eq. 2 with the factor left open: unbiased for `factor` = d only."""
    return factor * one_sided(loss, theta, v, mu) * v
