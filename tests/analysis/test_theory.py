"""Theorem 1's formulas at numbers whose roots are whole."""

import pytest

from heron.analysis import largest_client_rate, step_sizes
from heron.errors import ConfigError


def test_step_sizes() -> None:
    sizes = step_sizes(dimension=100, clients=4, local_steps=4, batch_size=25, rounds=1)
    assert sizes.client_learning_rate == pytest.approx(0.5)  # sqrt(4 * 25 / (100 * 4 * 1))
    assert sizes.server_learning_rate == pytest.approx(0.5)  # sqrt(4 * 25 / (100 * 4 * 1))
    assert sizes.mu == pytest.approx(40_000**-0.25)  # d h N B T = 100 * 4 * 4 * 25 * 1
    assert sizes.rate == pytest.approx(0.5)  # sqrt(100 / (4 * 4 * 25 * 1))


@pytest.mark.parametrize(
    ("clients", "local_steps", "expected"),
    [(1, 1, 1 / 72), (100, 1, 2 / 100), (25, 1, 2 / 25), (30, 2, 2 / 120), (5, 1, 5 / 72), (24, 4, 2 / (24 * 16))],
)
def test_bound(clients: int, local_steps: int, expected: float) -> None:
    assert largest_client_rate(smoothness=1, clients=clients, local_steps=local_steps) == pytest.approx(expected)


def test_the_first_term_never_binds_alone() -> None:
    # 1 / (3 h) < N / 72 asks for N h > 24, and < 2 / (N h^2) for N h < 6: the first term never binds alone.
    for clients in range(1, 40):
        for local_steps in range(1, 40):
            bound = largest_client_rate(smoothness=2, clients=clients, local_steps=local_steps)
            assert bound == min(2 / (clients * 2 * local_steps**2), clients / 144)


def test_numbers_are_positive() -> None:
    with pytest.raises(ConfigError, match="positive"):
        step_sizes(dimension=0, clients=1, local_steps=1, batch_size=1, rounds=1)
    with pytest.raises(ConfigError, match="positive"):
        largest_client_rate(smoothness=-1, clients=1, local_steps=1)
