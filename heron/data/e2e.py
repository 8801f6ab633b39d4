"""E2E NLG Challenge for causal language models: a sentence about a restaurant, generated from its attributes.

The prompt is `"{mr} ||"`; the continuation is `" {ref}"` and an end token. The two are tokenised separately, so a model
that continues a prompt sees exactly the tokens that it was trained on.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from heron.data.e2e_files import Row, read_rows
from heron.data.sequences import TokenSequences
from heron.data.splits import Splits, check_limits, library_seed
from heron.errors import DataError

Tokenize = Callable[[str], list[int]]

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


def load_e2e(
    *,
    tokenize: Tokenize,
    end_token: int,
    max_length: int,
    validation_limit: int | None,
    test_limit: int | None,
    train_limit: int | None,
    seed: int,
    root: Path | None = None,
) -> Splits:
    """Load the data as next-token prediction, with loss on the reference and the end token only.

    An example consists of the tokens of `"{mr} ||"`, the tokens of `" {ref}"`, and `end_token`. Inputs are all tokens
    but the last; labels are all but the first, replaced by `IGNORED` within the prompt. The three files are never
    mixed. Rows are shuffled and a limit takes a prefix: a random sample that contains the samples of smaller limits.

    Args:
        tokenize: function from text to tokens, without special tokens.
        end_token: token that ends a sequence and pads the inputs of a batch.
        max_length: largest number of input tokens T of an example, >= 1.
        validation_limit: number of rows of dev.csv used, >= 1; None for all. Their order never changes.
        test_limit: number of rows of test.csv used, >= 1; None for all. Their order never changes.
        train_limit: number of rows of train.csv used, >= 1; None for all.
        seed: seed of the run; draws the order of the training rows.
        root: folder that contains `e2e/train.csv`, `dev.csv` and `test.csv`; by default the environment variable
            `HERON_DATA`, else `../shared/data`.

    Returns:
        Inputs and labels as `TokenSequences`, int64, of shape (T,) with T per example. Groups are restaurants: the
        position of the MR's `name[...]` among the sorted names of train.csv.

    Raises:
        DataError: if a file is absent or malformed, a number is out of range, or an example exceeds `max_length`.
    """
    check_limits(validation_limit=validation_limit, test_limit=test_limit, train_limit=train_limit)
    if max_length < 1:
        raise DataError(f"expected a max_length of at least 1, found {max_length}; raise data.max_length")
    rows = dict(zip(("train", "dev", "test"), read_rows(("train", "dev", "test"), root), strict=True))
    names = [_name(row) for row in rows["train"]]
    order = _order(len(names), library_seed("train", seed), train_limit)
    chosen = {
        "train": [rows["train"][position] for position in order],
        "dev": _sample(rows["dev"], validation_limit),
        "test": _sample(rows["test"], test_limit),
    }
    sequences = {split: _sequences(chosen[split], split, tokenize, end_token, max_length) for split in chosen}
    return Splits(
        train=sequences["train"],
        validation=sequences["dev"],
        test=sequences["test"],
        num_classes=max(part.num_tokens for part in sequences.values()),
        groups=np.unique(names, return_inverse=True)[1][order],
    )


def load_e2e_prompts(
    split: Literal["dev", "test"] = "test", limit: int | None = None, root: Path | None = None
) -> list[Prompt]:
    """The distinct meaning representations of a split, in order of first appearance, each with all its references.

    Args:
        split: `dev` or `test`.
        limit: number of prompts, >= 1: a fixed random sample that contains the samples of smaller limits; None for all.
        root: as for `load_e2e`.

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


def _order(num_rows: int, seed: int, limit: int | None) -> np.ndarray:
    return np.random.default_rng(seed).permutation(num_rows)[:limit]


def _sample(rows: list[Row], limit: int | None) -> list[Row]:
    return [rows[position] for position in _order(len(rows), _ORDER_SEED, limit)]


def _name(row: Row) -> str:
    found = _NAME.search(row.mr)
    if found is None:
        raise DataError(f"E2E train: expected name[...] in the mr, found none in row {row.number}; complete the row")
    return found[1]


def _sequences(rows: list[Row], split: str, tokenize: Tokenize, end_token: int, max_length: int) -> TokenSequences:
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
