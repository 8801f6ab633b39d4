"""Noise scale of gradients whose noise is known."""

import math

import pytest
import torch

from heron.curvature import noise_scale


def gradients(count: int, size: int, *, spread: float, signal: float) -> list[tuple[torch.Tensor, int]]:
    """Batch gradients G + e / sqrt(size) with |G| = signal and tr(Sigma) = spread^2 d."""
    generator = torch.Generator().manual_seed(0)
    direction = torch.full((400,), signal / 20.0, dtype=torch.float64)
    noise = torch.randn(count, 400, generator=generator, dtype=torch.float64) * spread / math.sqrt(size)
    return [(direction + row, size) for row in noise]


@pytest.mark.parametrize("size", [4, 32])
def test_is_the_trace_of_the_covariance_over_the_squared_length(size: int) -> None:
    found = noise_scale(gradients(60, size, spread=0.2, signal=2.0))
    assert found == pytest.approx(0.2**2 * 400 / 4.0, rel=0.1)


def test_a_smaller_last_batch_does_not_count() -> None:
    whole = gradients(60, 16, spread=0.2, signal=2.0)
    assert noise_scale([*whole, (torch.full((400,), 9.0, dtype=torch.float64), 3)]) == noise_scale(whole)


def test_one_batch_tells_nothing_and_noise_alone_is_infinite() -> None:
    assert math.isnan(noise_scale(gradients(1, 8, spread=1.0, signal=1.0)))
    cancelling = [(torch.ones(4).double(), 8), (-torch.ones(4).double(), 8)]
    assert noise_scale(cancelling) == math.inf
