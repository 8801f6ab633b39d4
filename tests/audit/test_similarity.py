"""Structural similarity against a literal version, and the range of pixels."""

import numpy as np
import pytest
import torch

from heron.audit.similarity import Range, ssim


def literal(first: np.ndarray, second: np.ndarray) -> float:
    """One window after the other, for one channel."""
    values = []
    for top in range(first.shape[0] - 6):
        for left in range(first.shape[1] - 6):
            a, b = (image[top : top + 7, left : left + 7] for image in (first, second))
            covariance = np.cov(a.ravel(), b.ravel())
            likeness = (2 * a.mean() * b.mean() + 1e-4) * (2 * covariance[0, 1] + 9e-4)
            values.append(
                likeness / ((a.mean() ** 2 + b.mean() ** 2 + 1e-4) * (covariance[0, 0] + covariance[1, 1] + 9e-4))
            )
    return float(np.mean(values))


def test_ssim_is_the_literal_one() -> None:
    images, others = torch.rand(3, 1, 9, 10), torch.rand(3, 1, 9, 10)
    expected = [literal(a[0].numpy(), b[0].numpy()) for a, b in zip(images, others, strict=True)]
    np.testing.assert_allclose(ssim(images, others).numpy(), expected, atol=1e-4)


def test_an_image_is_like_itself_and_noise_is_not() -> None:
    images = torch.rand(4, 3, 8, 8)
    torch.testing.assert_close(ssim(images, images), torch.ones(4))
    assert float(ssim(images, torch.rand(4, 3, 8, 8)).max()) < 0.5


def test_small_images_have_one_small_window() -> None:
    assert ssim(torch.rand(2, 1, 4, 4), torch.rand(2, 1, 4, 4)).shape == (2,)


def test_pixels_go_to_images_and_back() -> None:
    inputs = torch.randn(5, 2, 4, 4) * torch.tensor([1.0, 3.0]).reshape(2, 1, 1)
    pixels = Range.of(inputs)
    images = pixels.to_images(inputs)
    assert (float(images.min()), float(images.max())) == pytest.approx((0.0, 1.0))
    torch.testing.assert_close(pixels.to_inputs(images), inputs)
