"""Step sizes of HERON-SFL's convergence theorems, as starting points for a search.

Kou, Chen, Yang, Shen, arXiv 2601.09076, Theorem 1 (i.i.d. data) and Theorem 2 (low effective rank).
Symbols: `N` clients, `h` local steps, `B` batch, `T` rounds, `d` trainable dimension of the client, `L` smoothness.
"""

import math
from dataclasses import dataclass

from heron.errors import ConfigError


@dataclass(frozen=True)
class StepSizes:
    """Orders of magnitude; the theorems leave the constants open.

    Attributes:
        client_learning_rate: eta_c ~ sqrt(N B / (d h T)).
        server_learning_rate: eta_s ~ sqrt(h B / (d N T)).
        mu: smoothing radius ~ (d h N B T)^(-1/4).
        rate: the bound on the squared gradient norm, ~ sqrt(d / (h N B T)).
    """

    client_learning_rate: float
    server_learning_rate: float
    mu: float
    rate: float


def step_sizes(*, dimension: float, clients: int, local_steps: int, batch_size: int, rounds: int) -> StepSizes:
    """Step sizes of Theorem 1.

    Args:
        dimension: d; for Theorem 2 pass the effective rank kappa >= tr(H) / ||H||_2 instead.
        clients: N.
        local_steps: h.
        batch_size: B.
        rounds: T.

    Raises:
        ConfigError: if a number is not positive.
    """
    _check_positive(dimension, clients, local_steps, batch_size, rounds)
    work = local_steps * clients * batch_size * rounds
    return StepSizes(
        client_learning_rate=math.sqrt(clients * batch_size / (dimension * local_steps * rounds)),
        server_learning_rate=math.sqrt(local_steps * batch_size / (dimension * clients * rounds)),
        mu=(dimension * work) ** -0.25,
        rate=math.sqrt(dimension / work),
    )


def largest_client_rate(*, smoothness: float, clients: int, local_steps: int) -> float:
    """Bound of Theorem 1: eta_c <= min{1 / (3 L h), 2 / (N L h^2), N / (72 L)}.

    Args:
        smoothness: L.
        clients: N.
        local_steps: h.

    Raises:
        ConfigError: if a number is not positive.
    """
    _check_positive(smoothness, clients, local_steps)
    return min(
        1 / (3 * smoothness * local_steps),
        2 / (clients * smoothness * local_steps**2),
        clients / (72 * smoothness),
    )


def _check_positive(*numbers: float) -> None:
    if not all(number > 0 for number in numbers):
        raise ConfigError(f"expected positive numbers, found {', '.join(map(str, numbers))}")
