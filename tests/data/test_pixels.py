"""Scaling of pixels: the bits of training, and which inputs it fits."""

import numpy as np
import pytest
import torch

from heron.data import Pixels
from heron.data.cifar10 import Cifar10, _normalised
from heron.data.digits import Digits


def test_cifar10_is_scaled_to_the_bits_of_training() -> None:
    pixels = np.random.default_rng(0).integers(256, size=(7, 3, 32, 32)).astype(np.uint8)
    assert Cifar10.pixels is not None
    expected = _normalised(torch.from_numpy(pixels)).numpy()
    assert Cifar10.pixels.scaled(pixels).tobytes() == expected.tobytes()


def test_digits_are_sixteenths() -> None:
    pixels = np.arange(17).reshape(1, 1, 17)
    assert Digits.pixels is not None
    np.testing.assert_array_equal(Digits.pixels.scaled(pixels), (np.arange(17, dtype=np.float32) / 16)[None, None])


@pytest.mark.parametrize(
    ("pixels", "shape", "fits"),
    [
        (Pixels(255), (3, 4, 4), True),
        (Pixels(255), (5,), True),
        (Pixels(255, (0.1, 0.2, 0.3), (1.0, 1.0, 1.0)), (3, 4, 4), True),
        (Pixels(255, (0.1, 0.2, 0.3), (1.0,)), (3, 4, 4), True),
        (Pixels(255, (0.1, 0.2, 0.3)), (1, 4, 4), False),
        (Pixels(255, (), (1.0,)), (1, 4, 4), False),
        (Pixels(255, (0.1, 0.2)), (), False),
    ],
)
def test_channels(pixels: Pixels, shape: tuple[int, ...], fits: bool) -> None:
    assert pixels.fits(shape) is fits
