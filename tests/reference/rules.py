"""SGD, momentum and Adam in float32 NumPy: every product, sum, quotient and root is rounded on its own.

A step is (scalars, directions): P float32 scalars and P directions of +1 and -1, written out in full. Numbers that do
not depend on the step's data (rates, decays, bias corrections) are computed in double and rounded once.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

F = np.float32
Vector = NDArray[np.float32]
Step = tuple[Sequence[np.float32], Sequence[Vector]]


def sgd(theta: Vector, steps: Sequence[Step], *, learning_rate: float) -> Vector:
    for scalars, directions in steps:
        theta = plus_terms(theta, scalars, directions, F(-learning_rate / len(scalars)))
    return theta


def momentum(theta: Vector, steps: Sequence[Step], *, learning_rate: float, momentum: float) -> Vector:
    velocity = np.zeros_like(theta)
    for scalars, directions in steps:
        velocity = F(momentum) * velocity
        velocity = velocity + gradient(scalars, directions)
        theta = theta - velocity * F(learning_rate)
    return theta


def adam(
    theta: Vector, steps: Sequence[Step], *, learning_rate: float, beta1: float, beta2: float, epsilon: float
) -> Vector:
    """Kingma and Ba (ICLR 2015), Algorithm 1."""
    first, second = np.zeros_like(theta), np.zeros_like(theta)
    for t, (scalars, directions) in enumerate(steps, start=1):
        g = gradient(scalars, directions)
        first = F(beta1) * first
        first = first + F(1.0 - beta1) * g
        g = g * g
        second = F(beta2) * second
        second = second + F(1.0 - beta2) * g
        root = np.sqrt(second) * F(1.0 / math.sqrt(1.0 - beta2**t))
        root = root + F(epsilon)
        theta = theta - (first * F(learning_rate / (1.0 - beta1**t))) / root
    return theta


def gradient(scalars: Sequence[np.float32], directions: Sequence[Vector]) -> Vector:
    return plus_terms(np.zeros_like(directions[0]), scalars, directions, F(1.0 / len(scalars)))


def plus_terms(base: Vector, scalars: Sequence[np.float32], directions: Sequence[Vector], factor: np.float32) -> Vector:
    for s, u in zip(scalars, directions, strict=True):
        scale = F(s) * factor
        base = base + scale * u
    assert base.dtype == np.float32
    return base
