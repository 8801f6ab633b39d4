"""Scores of every token of a vocabulary, as the two factors they are the product of.

`B` examples, `T` positions, `D` features, `V` tokens of the vocabulary.
"""

from typing import NamedTuple

from torch import Tensor

IGNORED = -100
"""Label of a position that does not count, as in torch's cross-entropy."""


class TokenLogits(NamedTuple):
    """Scores of the next token.

    Attributes:
        hidden_BTD: what the network makes of every position.
        unembedding_VD: a row per token.
    """

    hidden_BTD: Tensor
    unembedding_VD: Tensor


def num_counted(labels: Tensor) -> Tensor:
    """How many labels count, shape (), int64."""
    return (labels != IGNORED).sum()
