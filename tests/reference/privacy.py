"""Two accountants by the book: Renyi orders by a closed sum, and the privacy loss on a grid, convolved by FFT.

Nothing here is pessimistic: both are numbers to compare with, not bounds. `q` is the sampling rate, `s` the noise.
"""

import math

import numpy as np
from numpy.typing import NDArray


def renyi(order: int, q: float, s: float, steps: int) -> float:
    """Renyi divergence of that order of a Poisson-sampled Gaussian (Mironov, Talwar and Zhang 2019, section 3.3)."""
    terms = [
        math.lgamma(order + 1)
        - math.lgamma(k + 1)
        - math.lgamma(order - k + 1)
        + (k * math.log(q) if k else 0.0)
        + ((order - k) * math.log1p(-q) if k < order else 0.0)
        + (k * k - k) / (2 * s * s)
        for k in range(order + 1)
        if q < 1.0 or k == order
    ]
    largest = max(terms)
    return steps * (largest + math.log(sum(math.exp(term - largest) for term in terms))) / (order - 1)


def epsilon_by_renyi(q: float, s: float, steps: int, delta: float) -> float:
    """The best order's conversion (Canonne, Kamath and Steinke 2020, proposition 12)."""
    return min(
        renyi(order, q, s, steps) + math.log((order - 1) / order) - (math.log(delta) + math.log(order)) / (order - 1)
        for order in range(2, 128)
    )


def epsilon_by_convolution(q: float, s: float, steps: int, delta: float, width: float = 2e-5) -> float:
    """The larger one of both directions, adding an example and removing it."""
    return max(_one_way(q, s, steps, delta, width, adds=adds) for adds in (False, True))


def _one_way(q: float, s: float, steps: int, delta: float, width: float, *, adds: bool) -> float:
    x = np.linspace(-12 * s, 12 * s + 1, 400_001)
    without, within = _density(x, 0.0, s), _density(x, 1.0, s)
    mixture = (1 - q) * without + q * within
    ratio = np.log1p(q * np.expm1((2 * x - 1) / (2 * s * s)))
    losses, density = (-ratio, without) if adds else (ratio, mixture)
    masses = density * (x[1] - x[0])
    size = 1 << 21
    positions = np.rint(losses / width).astype(np.int64)
    grid = np.bincount(positions % size, masses / masses.sum(), size)
    composed = np.fft.irfft(np.fft.rfft(grid) ** steps, size)
    values = np.fft.fftfreq(size, 1.0 / size) * width
    there = composed > 1e-18  # what is left is rounding
    return _smallest(values[there], composed[there], delta)


def _density(x: NDArray[np.float64], mean: float, s: float) -> NDArray[np.float64]:
    return np.exp(-((x - mean) ** 2) / (2 * s * s)) / (s * math.sqrt(2 * math.pi))


def _smallest(losses: NDArray[np.float64], masses: NDArray[np.float64], delta: float) -> float:
    low, high = 0.0, float(losses.max())
    for _ in range(60):
        middle = (low + high) / 2
        above = losses > middle
        if float((masses[above] * -np.expm1(middle - losses[above])).sum()) > delta:
            low = middle
        else:
            high = middle
    return high
