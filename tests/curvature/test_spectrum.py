"""Spectrum and trace of matrices that are known as a whole."""

import math

import pytest
import torch
from torch import Tensor

from heron.curvature import spectrum_of

DIMENSION = 300


def matrix(values: Tensor) -> Tensor:
    """A symmetric matrix with these eigenvalues."""
    generator = torch.Generator().manual_seed(1)
    square = torch.randn(len(values), len(values), generator=generator, dtype=torch.float64)
    basis, _ = torch.linalg.qr(square)
    return basis @ torch.diag(values) @ basis.T


SPECTRA = {
    "a few large": torch.cat([torch.tensor([50.0, 20.0, 5.0]), torch.full((DIMENSION - 3,), 0.01)]).double(),
    "flat": torch.linspace(0.5, 1.5, DIMENSION).double(),
    "indefinite": torch.cat([torch.tensor([-40.0]), torch.linspace(-1.0, 9.0, DIMENSION - 1)]).double(),
}


@pytest.mark.parametrize("name", SPECTRA)
def test_norm_and_trace(name: str) -> None:
    whole = matrix(SPECTRA[name])
    found = spectrum_of(lambda vector: whole @ vector, DIMENSION, steps=60, probes=200, seed=0)
    assert found.norm == pytest.approx(float(SPECTRA[name].abs().max()), rel=0.01)
    assert found.trace == pytest.approx(float(SPECTRA[name].sum()), rel=0.05)
    assert abs(found.trace - float(SPECTRA[name].sum())) <= 4 * found.trace_error
    assert found.effective_rank == pytest.approx(float(SPECTRA[name].sum() / SPECTRA[name].abs().max()), rel=0.05)
    assert sum(found.weights) == pytest.approx(1.0)
    assert found.num_products < DIMENSION


def test_all_of_a_small_matrix_is_seen() -> None:
    values = torch.tensor([-3.0, -0.5, 0.25, 2.0, 7.0], dtype=torch.float64)
    whole = matrix(values)
    found = spectrum_of(lambda vector: whole @ vector, 5, steps=60, probes=200, seed=0)
    assert found.eigenvalues == pytest.approx(values.tolist(), abs=1e-9)
    assert (found.trace_error, found.norm) == (0.0, pytest.approx(7.0))
    assert found.trace == pytest.approx(float(values.sum()))


def test_a_multiple_of_the_identity_and_zero() -> None:
    found = spectrum_of(lambda vector: 2.0 * vector, 40, steps=10, probes=20, seed=0)
    assert (found.norm, found.trace) == (pytest.approx(2.0), pytest.approx(80.0, rel=0.05))
    nothing = spectrum_of(torch.zeros_like, 40, steps=10, probes=20, seed=0)
    assert (nothing.norm, nothing.trace) == (0.0, 0.0)
    assert math.isnan(nothing.effective_rank)
