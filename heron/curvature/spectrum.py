"""Spectrum and trace of a symmetric matrix that is known by its products alone.

`d` rows of the matrix, `m` steps of Lanczos.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Product = Callable[[Tensor], Tensor]
"""The product of the matrix and a vector, both of shape (d,), float64."""

_CONVERGED = 1e-3
_ACCURATE = 0.02
_BREAKDOWN = 1e-10


@dataclass(frozen=True)
class Spectrum:
    """What products tell of a symmetric matrix.

    Attributes:
        eigenvalues: Ritz values, ascending; the outermost have converged to eigenvalues.
        weights: share of each in the spectral density that the start vector samples; they sum to 1.
        norm: largest absolute eigenvalue.
        norm_error: bound on the distance from it to an eigenvalue.
        trace: estimate of the trace.
        trace_error: its standard error; 0 where the whole space was seen.
        num_products: products that were made.
    """

    eigenvalues: tuple[float, ...]
    weights: tuple[float, ...]
    norm: float
    norm_error: float
    trace: float
    trace_error: float
    num_products: int

    @property
    def effective_rank(self) -> float:
        """Kappa = tr(H) / ||H||_2 (arXiv 2601.09076, Theorem 2); NaN for the zero matrix."""
        return self.trace / self.norm if self.norm else math.nan


def spectrum_of(product: Product, dimension: int, *, steps: int, probes: int, seed: int) -> Spectrum:
    """Estimate the ends of the spectrum by Lanczos, the trace by Hutchinson outside of what Lanczos has seen.

    With the orthonormal basis Q of Lanczos, tr(H) = tr(Q^T H Q) + tr(P H P), P = I - Q Q^T: the first term is exact,
    the second is the mean of v^T P H P v over random signs v (Hutchinson 1990; deflated as by Meyer et al., Hutch++,
    2021).

    Args:
        product: computes H v.
        dimension: d.
        steps: most steps of Lanczos, m; they end earlier when the norm has converged to 0.1%.
        probes: most random vectors; they end earlier, at 4 or more, when the standard error is 2% of the trace.
        seed: of the random vectors.
    """
    generator = torch.Generator().manual_seed(seed)
    start = product(torch.zeros(dimension, dtype=torch.float64))  # also tells the device
    basis, diagonal, beside = _lanczos(product, dimension, steps, generator, start.device)
    values, vectors = torch.linalg.eigh(_tridiagonal(diagonal, beside))
    outer = int(values.abs().argmax())
    error = abs(beside[-1] * float(vectors[-1, outer]))
    quadratic = [] if len(diagonal) == dimension else _outside(product, basis, sum(diagonal), probes, generator)
    rest, rest_error = _mean_and_error(quadratic)
    return Spectrum(
        eigenvalues=tuple(values.tolist()),
        weights=tuple((vectors[0] ** 2).tolist()),
        norm=float(values[outer].abs()),
        norm_error=error,
        trace=sum(diagonal) + rest,
        trace_error=rest_error,
        num_products=1 + len(diagonal) + len(quadratic),
    )


def _lanczos(
    product: Product, dimension: int, steps: int, generator: torch.Generator, device: torch.device
) -> tuple[Tensor, list[float], list[float]]:
    """Return Q, shape (m, d), and the tridiagonal Q H Q^T: its diagonal, and beside it with the next entry at the end.

    Every vector is made orthogonal to all before it, twice: without that, copies of converged eigenvalues appear.
    """
    vector = torch.randn(dimension, generator=generator, dtype=torch.float64).to(device)
    basis = [vector / vector.norm()]
    diagonal: list[float] = []
    beside: list[float] = []
    while True:
        following = product(basis[-1])
        diagonal.append(float(basis[-1] @ following))
        for _ in range(2):
            for earlier in basis:
                following = following - (earlier @ following) * earlier
        beside.append(float(following.norm()))
        scale = max(*map(abs, diagonal), *beside)
        if len(basis) == min(steps, dimension) or beside[-1] <= _BREAKDOWN * scale or _has_converged(diagonal, beside):
            return torch.stack(basis), diagonal, beside
        basis.append(following / beside[-1])


def _has_converged(diagonal: list[float], beside: list[float]) -> bool:
    """Return whether the Ritz value of largest size is within 0.1% of an eigenvalue."""
    values, vectors = torch.linalg.eigh(_tridiagonal(diagonal, beside))
    outer = int(values.abs().argmax())
    residual = abs(beside[-1] * float(vectors[-1, outer]))
    return len(diagonal) > 2 and residual <= _CONVERGED * abs(float(values[outer]))


def _tridiagonal(diagonal: list[float], beside: list[float]) -> Tensor:
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    for index, value in enumerate(beside[: len(diagonal) - 1]):
        matrix[index, index + 1] = matrix[index + 1, index] = value
    return matrix


def _outside(product: Product, basis: Tensor, seen: float, probes: int, generator: torch.Generator) -> list[float]:
    """Sample v^T P H P v for random signs v."""
    found: list[float] = []
    for _ in range(probes):
        signs = torch.randint(0, 2, (basis.shape[1],), generator=generator).to(basis) * 2.0 - 1.0
        outside = signs - basis.T @ (basis @ signs)
        found.append(float(outside @ product(outside)))
        mean, error = _mean_and_error(found)
        if len(found) >= 4 and error <= _ACCURATE * abs(seen + mean):
            break
    return found


def _mean_and_error(values: list[float]) -> tuple[float, float]:
    """Mean and its standard error; 0 for no values, an unknown error for one."""
    if not values:
        return 0.0, 0.0
    mean = sum(values) / len(values)
    if len(values) == 1:
        return mean, math.nan
    return mean, math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))
