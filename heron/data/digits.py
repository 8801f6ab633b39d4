"""Handwritten digits that ship with scikit-learn: real data without a download.

1,797 8x8 grey images (Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998).
"""

import gzip
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from heron.data.data_set import DataSet, ExampleShape, Tokenizer
from heron.data.pixels import Pixels
from heron.data.splits import Splits, library_seed, stratified, take
from heron.errors import MissingExtraError
from heron.ranges import Probability

_TEST_SHARE = 0.2
_TEST_SEED = 0


@dataclass(frozen=True)
class Digits(DataSet):
    """scikit-learn's 8x8 digits: inputs of shape (1, 8, 8), float32 in [0, 1]; labels int64 in [0, 10).

    Attributes:
        name: `digits`.
        validation: share of the examples outside the test split kept for validation, in [0, 1).
    """

    title: ClassVar[str] = "Optical Recognition of Handwritten Digits, as in scikit-learn"
    licence: ClassVar[str] = "CC BY 4.0, UCI Machine Learning Repository"
    pixels: ClassVar[Pixels | None] = Pixels(16)

    name: Literal["digits"] = "digits"
    validation: Probability = 0.2

    @property
    def example(self) -> ExampleShape:
        """Shapes of one example."""
        return ExampleShape((1, 8, 8))

    def load(self, seed: int, tokenizer: Tokenizer | None = None, root: Path | None = None) -> Splits:  # noqa: ARG002
        """Load the digits; the seed draws the validation split. Arguments as of `DataSet.load`."""
        rows = _bundled()
        images, classes = rows[:, :-1], rows[:, -1].astype(np.int64)
        assert self.pixels is not None
        inputs = torch.from_numpy(self.pixels.scaled(images.reshape(-1, 1, 8, 8)))
        labels = torch.from_numpy(classes)
        rest, test = stratified(classes, _TEST_SHARE, _TEST_SEED)
        kept, held_out = stratified(classes[rest], self.validation, library_seed("validation", seed))
        return Splits(
            train=take(inputs, labels, rest[kept]),
            validation=take(inputs, labels, rest[held_out]),
            test=take(inputs, labels, test),
            num_classes=10,
        )


def _bundled() -> NDArray[Any]:
    """Read the pixels and the class of every digit: shape (n, 65), from scikit-learn's own file.

    scikit-learn is not imported: with scipy and pandas that takes ten times as long as a round.
    """
    spec = find_spec("sklearn")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder, "datasets", "data", "digits.csv.gz")
        if path.exists():
            with gzip.open(path, "rt", encoding="utf-8") as file:
                return np.loadtxt(file, delimiter=",")
    raise MissingExtraError("scikit-learn", "train")
