"""SST-2, sentences of film reviews with their sentiment, from local files or the hub.

Socher, Perelygin, Wu, Chuang, Manning, Ng and Potts, "Recursive Deep Models for Semantic Compositionality Over a
Sentiment Treebank", EMNLP 2013; as a task of GLUE: Wang et al., arXiv 1804.07461.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Lt

from heron.data.data_set import DataSet, ExampleShape, Tokenizer
from heron.data.folder import data_folder
from heron.data.hub import hub_cache
from heron.data.quiet import quiet_libraries
from heron.data.splits import Splits, library_seed, stratified
from heron.data.text_files import LabelledText, checked_rows, read_texts, table_rows
from heron.data.tokenised import ORDER_SEED, check_tokenizer, sample, tokenised
from heron.errors import DataError, MissingExtraError
from heron.ranges import NonNegativeInt, Probability

_HUB_NAME = "stanfordnlp/sst2"
_COLUMNS = ("sentence", "label")
_CLASSES = {"0": 0, "1": 1}
_NO_LABEL = "-1"
_NAMES = {"train": "train", "dev": "validation", "test": "test"}
"""Split -> its name on the hub; the names of local files."""


@dataclass(frozen=True)
class Sst2(DataSet):
    """SST-2: tokens of shape (max_length,), int64, padded on the right; labels 0 (negative) and 1 (positive), int64.

    Files are `train`, `dev` and `test`, each `.tsv` (without quotes, as in GLUE) or `.parquet`; if one of those that
    are read is absent, all come from the hub. With `data.test=test` the dev set is the validation split and the test
    set is the test split: it must have labels, which those of GLUE and of the hub have not. With `data.test=dev` the
    dev set is the test split, and a share of the training set is held out for validation; the test set is not read.
    Rows are shuffled and a limit takes a prefix. The seed draws the order of the training rows and what is held out;
    the order of the others never changes.

    Attributes:
        name: `sst2`.
        max_length: tokens of an example, those that the model adds included; shorter texts are padded.
        truncate: whether longer texts lose their end; else they are refused.
        test: set that is reported on, `test` or `dev`.
        validation: share of the training examples kept for validation if `data.test=dev`, in [0, 1).
        train_limit: training examples used, a random sample; 0 for all.
        validation_limit: validation examples used; 0 for all.
        test_limit: test examples used; 0 for all.
    """

    files: ClassVar[tuple[str, ...]] = ("sst2/train.tsv", "sst2/dev.tsv", "sst2/test.tsv")
    source: ClassVar[str] = (
        "The files are tables with the columns `sentence` and `label` (0 or 1), separated by tabs and without quotes, "
        "as in GLUE. A test file without labels cannot be reported on: `data.test=dev` reports on the dev file."
    )
    title: ClassVar[str] = "Stanford Sentiment Treebank, two classes"
    hub_name: ClassVar[str] = _HUB_NAME
    is_on_hub: ClassVar[bool] = True
    needs_tokenizer: ClassVar[bool] = True

    name: Literal["sst2"] = "sst2"
    max_length: Annotated[int, Ge(2), Lt(2**20)] = 64
    truncate: bool = True
    test: Literal["test", "dev"] = "test"
    validation: Probability = 0.05
    train_limit: NonNegativeInt = 0
    validation_limit: NonNegativeInt = 0
    test_limit: NonNegativeInt = 0

    @property
    def example(self) -> ExampleShape:
        """Shapes of one example."""
        return ExampleShape((self.max_length,), (), "int64")

    def load(self, seed: int, tokenizer: Tokenizer | None = None, root: Path | None = None) -> Splits:
        """Load the sentences as tokens. Arguments as of `DataSet.load`.

        Raises:
            DataError: also if a sentence has more than `max_length` tokens and may not lose its end, or the model has
                no room for so long ones.
        """
        known = check_tokenizer(self.name, tokenizer, self.max_length)
        rows = _tables(data_folder("sst2", root), ("train", "dev") if self.test == "dev" else ("train", "dev", "test"))
        _check_labels(rows)
        if self.test == "dev":
            classes = np.array([row.label for row in rows["train"]])
            kept, held_out = stratified(classes, self.validation, library_seed("validation", seed))
            rows = {
                "train": [rows["train"][position] for position in kept],
                "validation": [rows["train"][position] for position in held_out],
                "test": rows["dev"],
            }
        else:
            rows = {"train": rows["train"], "validation": rows["dev"], "test": rows["test"]}
        limits = {"train": self.train_limit, "validation": self.validation_limit, "test": self.test_limit}
        seeds = {"train": library_seed("train", seed)}
        parts = {
            split: tokenised(
                sample(rows[split], seeds.get(split, ORDER_SEED), limit),
                _CLASSES,
                known,
                max_length=self.max_length,
                truncate=self.truncate,
                source=f"SST-2 {split}",
            )
            for split, limit in limits.items()
        }
        return Splits(parts["train"], parts["validation"], parts["test"], num_classes=len(_CLASSES))


def _tables(folder: Path, splits: tuple[str, ...]) -> dict[str, list[LabelledText]]:
    """Rows of the sets that are read, all from local files or all from the hub: copies differ in their sentences."""
    found = {split: _file(folder, split) for split in splits}
    paths = {split: path for split, path in found.items() if path is not None}
    if len(paths) == len(splits):
        return {split: read_texts(path, *_COLUMNS) for split, path in paths.items()}
    absent = [split for split in splits if split not in paths]
    try:
        import datasets  # noqa: F401 - a missing library is reported here
    except ImportError as error:
        raise MissingExtraError("datasets", "images") from error
    try:
        return {split: _from_hub(split) for split in splits}
    except DataError:
        raise
    except Exception as error:  # the hub's client raises errors of its many dependencies
        raise DataError(
            f"SST-2: expected {', '.join(f'{split}.tsv' for split in splits)} in {folder.absolute()}, found no "
            f"{' and no '.join(f'{split}.tsv' for split in absent)} and no usable hub ({type(error).__name__}); set "
            f"HERON_DATA to the folder that holds sst2/"
        ) from error


def _file(folder: Path, split: str) -> Path | None:
    """The local file of a set; None if there is none."""
    paths = [folder / f"{split}{suffix}" for suffix in (".tsv", ".parquet")]
    return next((path for path in paths if path.is_file()), None)


def _from_hub(split: str) -> list[LabelledText]:
    import datasets

    with quiet_libraries(), hub_cache(_HUB_NAME):
        table = datasets.load_dataset(_HUB_NAME, split=_NAMES[split])
        rows = list(table_rows(table, _COLUMNS, f"{_HUB_NAME} {split}"))
    return checked_rows(rows, f"{_HUB_NAME} {split}", _COLUMNS)


def _check_labels(rows: Mapping[str, list[LabelledText]]) -> None:
    """Refuse sets without labels, as GLUE's test set is, before anything is made of them."""
    for split, found in rows.items():
        if any(row.label == _NO_LABEL for row in found):
            raise DataError(
                f"SST-2 {split}: expected labels 0 and 1, found {_NO_LABEL}, which stands for none; set data.test=dev "
                f"to report on the dev set and to hold validation examples out of the training set"
            )
