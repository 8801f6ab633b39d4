"""Labels and smashed data that are changed: in the same way at every use, with probabilities and norms as said."""

import math
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heron.client.obfuscation import Obfuscation, keep_probability, obfuscation
from heron.data import Batch
from heron.privacy import Secret
from heron.privacy.vault import Vault
from heron.wire.groups import Settings
from heron.wire.privacy import Privacy
from heron.wire.terms import Terms, UploadTerm
from heron.wire.uploads import Smashed

CLASSES = 5


def veil(secret: bytes = bytes(32), *, label_epsilon: float | Literal["off"] = "off", **smashed: Any) -> Obfuscation:
    upload = UploadTerm((4,), "float32", (), "int64", num_classes=CLASSES)
    chosen = Settings(smashed=Smashed(**smashed), privacy=Privacy(label_epsilon=label_epsilon))
    return Obfuscation(Terms("heron", chosen, (), upload), Vault(Secret(secret)))


def test_without_settings_nothing_is_changed() -> None:
    terms = Terms("heron", Settings(), (), UploadTerm((4,), "float32", (), "int64", CLASSES))
    assert obfuscation(terms, None) is None


@pytest.mark.parametrize("epsilon", [0.5, 2.0, 4.0])
def test_labels_stay_with_the_probability_of_their_epsilon(epsilon: float) -> None:
    """And no pair of labels gives an outcome with probabilities further apart than e^epsilon."""
    number, positions = 4000, np.arange(4000)
    shown = np.stack(
        [
            np.bincount(
                veil(label_epsilon=epsilon)
                .batch(Batch(np.zeros((number, 1)), np.full(number, label, np.int64)), 3, positions)
                .labels,
                minlength=CLASSES,
            )
            for label in range(CLASSES)
        ]
    )
    keeps = keep_probability(epsilon, CLASSES)
    assert keeps / ((1 - keeps) / (CLASSES - 1)) == pytest.approx(math.exp(epsilon))
    expected = np.where(np.eye(CLASSES, dtype=bool), keeps, (1 - keeps) / (CLASSES - 1))
    assert np.abs(shown / number - expected).max() < 4.5 * 0.5 / math.sqrt(number)


def test_a_label_is_drawn_once_for_an_example_whatever_its_batch() -> None:
    masked, labels = veil(label_epsilon=1.0), torch.arange(20) % CLASSES
    whole = masked.batch(Batch(torch.zeros(20, 1), labels), 0, np.arange(20)).labels
    chosen = np.array([7, 3, 19])
    some = masked.batch(Batch(torch.zeros(3, 1), labels[chosen]), 0, chosen).labels
    assert isinstance(some, torch.Tensor)
    assert some.dtype == torch.int64
    assert torch.equal(some, whole[chosen])
    for other in (veil(bytes([1]) * 32, label_epsilon=1.0), masked):
        client_id = 1 if other is masked else 0
        assert not torch.equal(other.batch(Batch(torch.zeros(20, 1), labels), client_id, np.arange(20)).labels, whole)
    assert len(masked.batch(Batch(np.zeros((0, 1)), np.zeros(0, np.int64)), 0, np.arange(0)).labels) == 0


@given(st.integers(1, 6), st.floats(0.1, 10.0), st.floats(1e-30, 1e30))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_smashed_data_are_scaled_down_to_a_norm_and_not_up(number: int, clip: float, size: float) -> None:
    values = (np.random.default_rng(number).normal(size=(number, 2, 3)) * size).astype(np.float32)
    clipped = veil(clip=clip).smashed(values, 0, np.arange(number))
    assert clipped.dtype == np.float32
    norms = np.sqrt((clipped.astype(np.float64) ** 2).sum((1, 2)))
    assert (norms <= clip * (1 + 1e-6)).all()
    before = np.sqrt((values.astype(np.float64) ** 2).sum((1, 2)))
    assert np.allclose(norms, np.minimum(before, clip), rtol=1e-6)


def test_noise_has_its_size_and_averages_out_over_no_number_of_uploads() -> None:
    masked, zeros = veil(clip=1.0, noise=0.25), torch.zeros(100, 8, 8)
    uploads = [masked.smashed(zeros, 2, np.arange(100)) for _ in range(4)]
    assert float(uploads[0].std()) == pytest.approx(0.25, rel=0.03)
    assert all(torch.equal(uploads[0], upload) for upload in uploads)
    assert len(np.unique(uploads[0].numpy())) > 6000
    fresh = [veil(bytes([seed]) * 32, clip=1.0, noise=0.25).smashed(zeros, 2, np.arange(100)) for seed in range(16)]
    assert float(torch.stack(fresh).mean(0).std()) == pytest.approx(0.25 / 4, rel=0.05)


def test_a_shorter_sequence_has_the_beginning_of_the_noise() -> None:
    masked = veil(clip=1.0, noise=1.0)
    long, short = (masked.smashed(np.zeros((1, tokens, 3)), 0, np.array([5])) for tokens in (6, 4))
    assert np.array_equal(long[:, :4], short)
