"""FedAdam in float32 NumPy, Algorithm 2 of Reddi et al. (ICLR 2021) line by line; every operation rounds once."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

F = np.float32
Vector = NDArray[np.float32]


def fed_adam(
    x: Vector, means: Sequence[Vector], *, learning_rate: float, beta1: float, beta2: float, epsilon: float
) -> Vector:
    """The model after rounds whose clients replied with these means; `means[t]` is that of round t."""
    m, v = np.zeros_like(x), np.full_like(x, F(epsilon**2))
    for x_bar in means:
        delta = x_bar - x
        m = F(beta1) * m + F(1.0 - beta1) * delta
        v = F(beta2) * v + F(1.0 - beta2) * (delta * delta)
        x = x + (F(learning_rate) * m) / (np.sqrt(v) + F(epsilon))
        assert x.dtype == np.float32
    return x
