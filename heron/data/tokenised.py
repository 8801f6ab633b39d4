"""Texts with classes as tokens of one length: what a classifier of texts reads.

`n` examples, `T` tokens.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch.utils.data import TensorDataset

from heron.data.data_set import Tokenizer
from heron.data.text_files import LabelledText
from heron.errors import DataError

# Seed of the order of validation and test rows, which is the same for every run.
ORDER_SEED = 0


def sample(rows: Sequence[LabelledText], seed: int, limit: int) -> list[LabelledText]:
    """Draw a random sample that contains the samples of smaller limits.

    Args:
        rows: what to draw from.
        seed: seed of the order.
        limit: number of rows; 0 for all.
    """
    return [rows[position] for position in np.random.default_rng(seed).permutation(len(rows))[: limit or None]]


def tokenised(
    rows: Sequence[LabelledText],
    classes: Mapping[str, int],
    tokenizer: Tokenizer,
    *,
    max_length: int,
    truncate: bool,
    source: str,
) -> TensorDataset:
    """Turn texts into tokens, padded on the right to one length, and labels into classes.

    Args:
        rows: texts and labels; may be none.
        classes: class of each label.
        tokenizer: the model's.
        max_length: T, special tokens included.
        truncate: whether longer texts lose their end; else they are refused.
        source: name of the rows in errors.

    Returns:
        Tokens, int64, shape (n, T), and classes, int64, shape (n,).

    Raises:
        DataError: if a label is no class, a text has no token, too many, or the token that pads.
    """
    pad = tokenizer.pad_token
    assert pad is not None  # checked by `check_tokenizer`
    tokens_nT = np.full((len(rows), max_length), pad, dtype=np.int64)
    for place, row in enumerate(rows):
        tokens = tokenizer.encode(row.text)
        if len(tokens) > max_length:
            tokens = _shortened(row, tokens, tokenizer, max_length, truncate=truncate, source=source)
        if not tokens or pad in tokens:
            raise DataError(
                f"{source}: expected a text without the token that pads ({pad}) and with others, found "
                f"{'it' if tokens else 'no token'} in row {row.number}; change the text"
            )
        tokens_nT[place, : len(tokens)] = tokens
    labels_n = np.array([_class_of(row, classes, source) for row in rows], dtype=np.int64)
    return TensorDataset(torch.from_numpy(tokens_nT), torch.from_numpy(labels_n))


def check_tokenizer(name: str, tokenizer: Tokenizer | None, max_length: int) -> Tokenizer:
    """Return the tokenizer of a model that classifies texts, if texts of a length fit it.

    Args:
        name: name of the data set in errors.
        tokenizer: the model's; None if there is none.
        max_length: T.

    Raises:
        DataError: if there is none, the model classifies no texts, or it has no room for so many tokens.
    """
    if tokenizer is None or tokenizer.pad_token is None:
        found = "none" if tokenizer is None else f"that of {tokenizer.source}, which continues texts"
        raise DataError(
            f"expected the tokenizer of a model that classifies texts for the data {name}, found {found}; give the "
            f"tokenizer of split.model=text_classifier"
        )
    if max_length > tokenizer.max_length:
        raise DataError(
            f"expected data.max_length of at most {tokenizer.max_length}, the positions of {tokenizer.source}, found "
            f"{max_length}; lower it"
        )
    return tokenizer


def _shortened(
    row: LabelledText, tokens: list[int], tokenizer: Tokenizer, max_length: int, *, truncate: bool, source: str
) -> list[int]:
    """The beginning of a long text, if it may lose its end."""
    if not truncate or tokenizer.first_tokens is None:
        raise DataError(
            f"{source}: expected at most {max_length} tokens a text, found {len(tokens)} in row {row.number}; raise "
            f"data.max_length, or set data.truncate=true to leave out what is longer"
        )
    return tokenizer.first_tokens(row.text, max_length)


def _class_of(row: LabelledText, classes: Mapping[str, int], source: str) -> int:
    if row.label not in classes:
        known = ", ".join(classes)
        raise DataError(
            f"{source}: expected one of the labels {known[:200]}, found {row.label[:80]!r} in row {row.number}; "
            f"correct it or name all labels in the order of their classes"
        )
    return classes[row.label]
