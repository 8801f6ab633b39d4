"""E2E NLG Challenge for causal language models: a sentence about a restaurant, generated from its attributes.

The prompt is `"{mr} ||"`; the continuation is `" {ref}"` and an end token. The two are tokenised separately, so a model
that continues a prompt sees exactly the tokens that it was trained on.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Lt

from heron.data.data_set import DataSet, ExampleShape, Tokenizer
from heron.data.e2e_files import Row, read_rows
from heron.data.sequences import TokenSequences
from heron.data.splits import Splits, check_limits, library_seed
from heron.errors import DataError
from heron.ranges import NonNegativeInt

_NAME = re.compile(r"(?:^|, )name\[(.*?)\]")
# Seed of the order of validation and test rows, which is the same for every run.
_ORDER_SEED = 0


@dataclass(frozen=True)
class Prompt:
    """A text for the model to continue, with references.

    Attributes:
        text: a meaning representation and " ||".
        references: sentences that people wrote for it, at least one.
    """

    text: str
    references: tuple[str, ...]


@dataclass(frozen=True)
class E2E(DataSet):
    """E2E NLG as next-token prediction, from local CSV files, with loss on the reference and the end token only.

    An example consists of the tokens of `"{mr} ||"`, the tokens of `" {ref}"`, and the end token. Inputs are all tokens
    but the last; labels are all but the first, replaced by `IGNORED` within the prompt: int64, of shape (T,) with T per
    example, in `TokenSequences`. Groups are restaurants: the position of the MR's `name[...]` among the sorted names
    of train.csv. The three files are never mixed. Rows are shuffled and a limit takes a prefix: a random sample that
    contains the samples of smaller limits. The seed draws the order of the training rows; that of the others never
    changes.

    Attributes:
        name: `e2e`.
        max_length: largest number of input tokens of an example, prompt and reference together.
        train_limit: training examples used, a random sample; 0 for all.
        validation_limit: examples of the development set used; 0 for all.
        test_limit: examples of the test set used; 0 for all.
    """

    files: ClassVar[tuple[str, ...]] = ("e2e/train.csv", "e2e/dev.csv", "e2e/test.csv")
    source: ClassVar[str] = (
        "The files are `trainset.csv`, `devset.csv` and `testset_w_refs.csv` of the E2E NLG Challenge "
        "(github.com/tuetschek/e2e-dataset), renamed: UTF-8, first row `mr,ref`."
    )
    title: ClassVar[str] = "E2E NLG Challenge"
    licence: ClassVar[str] = "CC BY-SA 4.0"
    hub_name: ClassVar[str] = "tuetschek/e2e_nlg"
    needs_tokenizer: ClassVar[bool] = True

    name: Literal["e2e"] = "e2e"
    max_length: Annotated[int, Ge(2), Lt(2**20)] = 512
    train_limit: NonNegativeInt = 0
    validation_limit: NonNegativeInt = 500
    test_limit: NonNegativeInt = 500

    @property
    def example(self) -> ExampleShape:
        """Shapes of the longest example."""
        return ExampleShape((self.max_length,), (self.max_length,), "int64")

    def load(self, seed: int, tokenizer: Tokenizer | None = None, root: Path | None = None) -> Splits:
        """Load the texts as tokens. Arguments as of `DataSet.load`.

        Raises:
            DataError: also if an example has more than `max_length` tokens, or the model has no room for so long ones.
        """
        self._check(tokenizer)
        assert tokenizer is not None  # checked
        rows = dict(zip(("train", "dev", "test"), read_rows(("train", "dev", "test"), root), strict=True))
        names = [_name(row) for row in rows["train"]]
        order = _order(len(names), library_seed("train", seed), self.train_limit)
        chosen = {
            "train": [rows["train"][position] for position in order],
            "dev": _sample(rows["dev"], self.validation_limit),
            "test": _sample(rows["test"], self.test_limit),
        }
        sequences = {split: _sequences(chosen[split], split, tokenizer, self.max_length) for split in chosen}
        return Splits(
            train=sequences["train"],
            validation=sequences["dev"],
            test=sequences["test"],
            num_classes=max(part.num_tokens for part in sequences.values()),
            groups=np.unique(names, return_inverse=True)[1][order],
        )

    def _check(self, tokenizer: Tokenizer | None) -> None:
        check_limits(validation_limit=self.validation_limit, test_limit=self.test_limit, train_limit=self.train_limit)
        if self.max_length < 1:
            raise DataError(f"expected a max_length of at least 1, found {self.max_length}; raise data.max_length")
        if tokenizer is None:
            raise DataError("expected the tokenizer of a language model for the data e2e, found none; give one to load")
        if self.max_length > tokenizer.max_length:
            raise DataError(
                f"expected data.max_length of at most {tokenizer.max_length}, the positions of {tokenizer.source}, "
                f"found {self.max_length}; lower it"
            )


def load_e2e_prompts(split: Literal["dev", "test"] = "test", limit: int = 0, root: Path | None = None) -> list[Prompt]:
    """The distinct meaning representations of a split, in order of first appearance, each with all its references.

    Args:
        split: `dev` or `test`.
        limit: number of prompts: a fixed random sample that contains the samples of smaller limits; 0 for all.
        root: the data folder, in place of the default of `heron.data.folder`.

    Raises:
        DataError: if the split is neither, the file is absent or malformed, or the limit is out of range.
    """
    check_limits(limit=limit)
    if split not in ("dev", "test"):
        raise DataError(f"expected prompts of dev or test, found {split!r}; name one of them")
    (rows,) = read_rows((split,), root)
    references: dict[str, list[str]] = {}
    for row in rows:
        references.setdefault(row.mr, []).append(row.ref)
    prompts = [Prompt(_prompt(mr), tuple(found)) for mr, found in references.items()]
    # The files are sorted by restaurant and begin with short prompts, so their first rows are not a fair sample.
    return [prompts[position] for position in sorted(_order(len(prompts), _ORDER_SEED, limit))]


def _prompt(mr: str) -> str:
    return f"{mr} ||"


def _order(num_rows: int, seed: int, limit: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(num_rows)[: limit or None]


def _sample(rows: list[Row], limit: int) -> list[Row]:
    return [rows[position] for position in _order(len(rows), _ORDER_SEED, limit)]


def _name(row: Row) -> str:
    found = _NAME.search(row.mr)
    if found is None:
        raise DataError(f"E2E train: expected name[...] in the mr, found none in row {row.number}; complete the row")
    return found[1]


def _sequences(rows: list[Row], split: str, tokenizer: Tokenizer, max_length: int) -> TokenSequences:
    tokenize, end_token = tokenizer.encode, tokenizer.end_token
    prompt_tokens = cache(tokenize)  # about ten references share an MR
    sequences = TokenSequences(
        ((prompt_tokens(_prompt(row.mr)), [*tokenize(f" {row.ref}"), end_token]) for row in rows), pad=end_token
    )
    longest = int(sequences.lengths.argmax())
    if (num_tokens := int(sequences.lengths[longest]) + 1) > max_length + 1:
        raise DataError(
            f"E2E {split}: expected at most {max_length + 1} tokens a row, found {num_tokens} in row "
            f"{rows[longest].number}; raise data.max_length to at least {num_tokens - 1}"
        )
    return sequences
