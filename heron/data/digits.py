"""Handwritten digits that ship with scikit-learn: real data without a download.

1,797 8x8 grey images (Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998).
"""

import numpy as np
import torch

from heron.data.splits import Splits, library_seed, stratified, take

_TEST_SHARE = 0.2
_TEST_SEED = 0
_LARGEST_PIXEL = 16.0


def load_digits(*, validation: float, seed: int) -> Splits:
    """Load the digits, with a test split that never changes.

    Args:
        validation: share of the examples outside the test split kept for validation, in [0, 1).
        seed: seed of the run; draws the validation split.

    Returns:
        Inputs of shape (1, 8, 8), float32 in [0, 1]; labels int64 in [0, 10).
    """
    from sklearn.datasets import load_digits as load_bundled

    images, classes = load_bundled(return_X_y=True)
    inputs = torch.from_numpy(images.astype(np.float32) / _LARGEST_PIXEL).view(-1, 1, 8, 8)
    labels = torch.from_numpy(classes.astype(np.int64))
    rest, test = stratified(classes, _TEST_SHARE, _TEST_SEED)
    kept, held_out = stratified(classes[rest], validation, library_seed("validation", seed))
    return Splits(
        train=take(inputs, labels, rest[kept]),
        validation=take(inputs, labels, rest[held_out]),
        test=take(inputs, labels, test),
        num_classes=10,
    )
