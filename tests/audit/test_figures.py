"""Attacks on data whose outcome is known: a linear probe, the area under a curve, distance correlation."""

import numpy as np
import pytest
import torch

from heron.audit import auc, distance_correlation, linear_probe, trained_decoder


@pytest.mark.slow
def test_a_linear_probe_reads_what_is_linear_and_nothing_else() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(600, 5, generator=generator)
    labels = 3 + (features[:, 0] > 0).long() + 4 * (features[:, 1] > 0).long()
    found = linear_probe(features[:400], labels[:400], features[400:])
    assert float((found == labels[400:]).float().mean()) > 0.9
    noise = torch.randn(600, 5, generator=generator)
    found = linear_probe(noise[:400], labels[:400], noise[400:])
    assert float((found == labels[400:]).float().mean()) < 0.4


def test_auc_counts_pairs() -> None:
    generator = np.random.default_rng(0)
    positives, negatives = generator.integers(0, 6, 30).astype(float), generator.integers(0, 6, 20).astype(float)
    pairs = [(a > b) + 0.5 * (a == b) for a in positives for b in negatives]
    assert auc(positives, negatives) == pytest.approx(np.mean(pairs))


def test_distance_correlation_of_like_and_of_independent_data() -> None:
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(200, 16, generator=generator)
    assert distance_correlation(data, 3.0 * data.flip(1) + 1.0) == pytest.approx(1.0)
    assert abs(distance_correlation(data, torch.randn(200, 40, generator=generator))) < 0.05
    assert 0.1 < distance_correlation(data, data[:, :4]) < 0.95
    assert distance_correlation(data, torch.zeros(200, 3)) == 0.0


@pytest.mark.slow
def test_a_decoder_learns_an_invertible_map_and_cannot_learn_a_constant() -> None:
    generator = torch.Generator().manual_seed(0)
    strokes = torch.rand(500, 4, generator=generator)
    images = strokes.repeat_interleave(16, 1).reshape(500, 1, 8, 8)
    smashed = strokes @ torch.randn(4, 4, generator=generator)
    decoder = trained_decoder(smashed[:400], images[:400], seed=0)
    with torch.no_grad():
        assert float((decoder(smashed[400:]) - images[400:]).abs().mean()) < 0.03
    again = trained_decoder(smashed[:400], images[:400], seed=0)
    with torch.no_grad():
        assert torch.equal(decoder(smashed), again(smashed)), "a function of the seed"
