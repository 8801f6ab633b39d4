"""Texts of the user's own, with a label each: files and columns are settings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Lt

from heron.data.data_set import DataSet, ExampleShape, Tokenizer
from heron.data.folder import data_folder
from heron.data.splits import Splits, library_seed, stratified
from heron.data.text_files import LabelledText, read_texts
from heron.data.tokenised import ORDER_SEED, check_tokenizer, sample, tokenised
from heron.errors import DataError
from heron.ranges import NonNegativeInt, Probability


@dataclass(frozen=True)
class Text(DataSet):
    """A table of texts and labels: tokens of shape (max_length,), int64, padded on the right; classes, int64.

    A file is CSV (`.csv`), a table separated by tabs without quotes (`.tsv`), or `.parquet`. It is in the data folder
    (`HERON_DATA`) or below, since a server may name it to clients. Each distinct label of the training file is a
    class, in the order of their numbers if all
    are integers, else of the alphabet; `data.classes` gives them an order of its own. Validation examples are held out
    of the training file, drawn by the seed; without a test file, test examples are, the same ones for every seed.
    Rows are shuffled and a limit takes a prefix.

    Attributes:
        name: `text`.
        train: file of the training examples.
        test: file of the test examples; empty to hold them out of the training file.
        text_column: name of the column of texts.
        label_column: name of the column of labels.
        classes: all labels, separated by commas, in the order of their classes; empty for those of the training file.
        max_length: tokens of an example, those that the model adds included; shorter texts are padded.
        truncate: whether longer texts lose their end; else they are refused.
        validation: share of the training examples kept for validation, in [0, 1).
        test_share: share of the training file kept for the test if there is no test file, in [0, 1).
        train_limit: training examples used, a random sample; 0 for all.
        test_limit: test examples used; 0 for all.
    """

    title: ClassVar[str] = "texts of the user's own"
    needs_tokenizer: ClassVar[bool] = True

    name: Literal["text"] = "text"
    train: str = "text/train.csv"
    test: str = ""
    text_column: str = "text"
    label_column: str = "label"
    classes: str = ""
    max_length: Annotated[int, Ge(2), Lt(2**20)] = 64
    truncate: bool = False
    validation: Probability = 0.1
    test_share: Probability = 0.2
    train_limit: NonNegativeInt = 0
    test_limit: NonNegativeInt = 0

    @property
    def example(self) -> ExampleShape:
        """Shapes of one example."""
        return ExampleShape((self.max_length,), (), "int64")

    def load(self, seed: int, tokenizer: Tokenizer | None = None, root: Path | None = None) -> Splits:
        """Load the texts as tokens. Arguments as of `DataSet.load`.

        Raises:
            DataError: also if labels are fewer than two, unknown or named twice, or a text has more than `max_length`
                tokens and may not lose its end.
        """
        known = check_tokenizer(self.name, tokenizer, self.max_length)
        training = self._rows(self.train, root)
        classes = self._classes(training)
        if self.test:
            test = self._rows(self.test, root)
        else:
            training, test = _divided(training, self.test_share, ORDER_SEED, key="data.test_share")
        training, validation = _divided(training, self.validation, library_seed("validation", seed))
        train_part, validation_part, test_part = (
            tokenised(
                sample(rows, order, limit),
                classes,
                known,
                max_length=self.max_length,
                truncate=self.truncate,
                source=source,
            )
            for rows, order, limit, source in (
                (training, library_seed("train", seed), self.train_limit, self.train),
                (validation, ORDER_SEED, 0, self.train),
                (test, ORDER_SEED, self.test_limit, self.test or self.train),
            )
        )
        return Splits(train_part, validation_part, test_part, num_classes=len(classes))

    def _rows(self, name: str, root: Path | None) -> list[LabelledText]:
        path = data_folder(name, root)
        if Path(name).is_absolute() or ".." in Path(name).parts or not path.is_file():
            raise DataError(
                f"expected the name of a file in {data_folder('', root).absolute()} as data.train and data.test, found "
                f"{name!r}, which is none; set HERON_DATA to the folder of the file"
            )
        return read_texts(path, self.text_column, self.label_column)

    def _classes(self, rows: list[LabelledText]) -> dict[str, int]:
        """Class of each label."""
        labels = [label.strip() for label in self.classes.split(",")] if self.classes else _in_order(rows)
        if len(set(labels)) < max(2, len(labels)) or "" in labels:
            source = "data.classes" if self.classes else f"column {self.label_column!r} of {self.train}"
            raise DataError(
                f"expected at least 2 labels, each once, in {source}, found {', '.join(labels)[:200] or 'none'}; "
                f"correct it"
            )
        return {label: index for index, label in enumerate(labels)}


def _in_order(rows: list[LabelledText]) -> list[str]:
    """The distinct labels: by their numbers if all are integers, else by the alphabet."""
    labels = sorted({row.label for row in rows})
    try:
        return sorted(labels, key=int)
    except ValueError:
        return labels


def _divided(
    rows: list[LabelledText], share: float, seed: int, *, key: str = "data.validation"
) -> tuple[list[LabelledText], list[LabelledText]]:
    """Hold a stratified share of the rows out."""
    kept, held_out = stratified(np.array([row.label for row in rows]), share, seed, key=key)
    return [rows[position] for position in kept], [rows[position] for position in held_out]
