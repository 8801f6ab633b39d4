"""Likeness of images: 1 for the image itself, whatever is measured.

`n` images of shape (C, H, W).
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

_WINDOW = 7
_LUMINANCE, _CONTRAST = 0.01**2, 0.03**2


def ssim(images: Tensor, others: Tensor) -> Tensor:
    """Compute the structural similarity of each pair of images (Wang et al., IEEE TIP 2004), windows of 7 x 7.

    Args:
        images: values in [0, 1], shape (n, C, H, W); H and W of 3 or more.
        others: likewise.

    Returns:
        The mean over windows and channels, shape (n,): 1 for the same image.

    Examples:
        >>> picture = torch.rand(1, 1, 8, 8)
        >>> round(float(ssim(picture, picture)), 3)
        1.0
    """
    window = min(_WINDOW, *images.shape[2:])
    mean, other_mean = avg_pool2d(images, window, 1), avg_pool2d(others, window, 1)
    # Sample variances, as in the paper's code and scikit-image.
    unbiased = window**2 / (window**2 - 1)
    variance = unbiased * (avg_pool2d(images * images, window, 1) - mean**2)
    other_variance = unbiased * (avg_pool2d(others * others, window, 1) - other_mean**2)
    covariance = unbiased * (avg_pool2d(images * others, window, 1) - mean * other_mean)
    likeness: Tensor = (2 * mean * other_mean + _LUMINANCE) * (2 * covariance + _CONTRAST)
    likeness /= (mean**2 + other_mean**2 + _LUMINANCE) * (variance + other_variance + _CONTRAST)
    return likeness.flatten(1).mean(1)


@dataclass(frozen=True)
class Range:
    """Range of pixel values, by which inputs become images in [0, 1] and back.

    Attributes:
        low: smallest value of each channel, shape (C, 1, 1).
        high: largest value of each channel, shape (C, 1, 1).
    """

    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, inputs: Tensor) -> "Range":
        """Find the range of inputs, shape (n, C, H, W)."""
        values = inputs.transpose(0, 1).flatten(1)
        low, high = values.min(1).values, values.max(1).values
        return cls(low[:, None, None], torch.maximum(high, low + 1e-6)[:, None, None])

    def to_images(self, inputs: Tensor) -> Tensor:
        """Scale inputs to [0, 1]; what is outside the range is cut off."""
        return ((inputs - self.low) / (self.high - self.low)).clamp(0.0, 1.0)

    def to_inputs(self, images: Tensor) -> Tensor:
        """Undo `to_images`."""
        return self.low + images * (self.high - self.low)
