"""Handwritten digits that ship with scikit-learn: real data without a download.

1,797 8x8 grey images (Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch

from heron.data.data_set import DataSet, ExampleShape, Tokenizer
from heron.data.splits import Splits, library_seed, stratified, take
from heron.ranges import Probability

_TEST_SHARE = 0.2
_TEST_SEED = 0
_LARGEST_PIXEL = 16.0


@dataclass(frozen=True)
class Digits(DataSet):
    """scikit-learn's 8x8 digits: inputs of shape (1, 8, 8), float32 in [0, 1]; labels int64 in [0, 10).

    Attributes:
        name: `digits`.
        validation: share of the examples outside the test split kept for validation, in [0, 1).
    """

    title: ClassVar[str] = "Optical Recognition of Handwritten Digits, as in scikit-learn"
    licence: ClassVar[str] = "CC BY 4.0, UCI Machine Learning Repository"

    name: Literal["digits"] = "digits"
    validation: Probability = 0.2

    @property
    def example(self) -> ExampleShape:
        """Shapes of one example."""
        return ExampleShape((1, 8, 8))

    def load(self, seed: int, tokenizer: Tokenizer | None = None, root: Path | None = None) -> Splits:  # noqa: ARG002
        """Load the digits; the seed draws the validation split. Arguments as of `DataSet.load`."""
        from sklearn.datasets import load_digits

        images, classes = load_digits(return_X_y=True)
        inputs = torch.from_numpy(images.astype(np.float32) / _LARGEST_PIXEL).view(-1, 1, 8, 8)
        labels = torch.from_numpy(classes.astype(np.int64))
        rest, test = stratified(classes, _TEST_SHARE, _TEST_SEED)
        kept, held_out = stratified(classes[rest], self.validation, library_seed("validation", seed))
        return Splits(
            train=take(inputs, labels, rest[kept]),
            validation=take(inputs, labels, rest[held_out]),
            test=take(inputs, labels, test),
            num_classes=10,
        )
