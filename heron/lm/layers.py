"""Layers of a cut language model. Each maps one tensor to one tensor and wraps modules of `transformers`.

Sequences are padded on the right. In a causal model a position attends to itself and to positions on its left, so
padding on the right reaches no token that counts. Position ids are therefore 0, 1, 2, ..., and no mask is needed:
attention runs in its fused causal form, whose memory grows with T, not T x T (docs/decisions/0020-causal-lm-parts.md).

`B` examples, `T` positions, `D` features, `V` tokens of the vocabulary.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from heron.errors import SplitError
from heron.split import TokenLogits


def widened(tensor: Tensor) -> Tensor:
    """Rows of a stored table in the dtype of computation: float32, or float64 where they are that wide."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def checked_length(ids_BT: Tensor, num_positions: int) -> int:
    """Return the length of sequences, T.

    Args:
        ids_BT: tokens, shape (B, T).
        num_positions: length of the longest sequence.

    Raises:
        SplitError: if it is larger.
    """
    length = ids_BT.shape[1]
    if length > num_positions:
        raise SplitError(
            f"expected sequences of at most {num_positions} tokens, found {length}: the model has no more positions; "
            f"lower data.max_length"
        )
    return length


class TokenEmbedding(nn.Module):
    """Embedding: token ids to hidden states, from rows of a token table and, in some families, of a position table.

    Args:
        tokens: embedding with one row per token.
        num_positions: length of the longest sequence.
        positions: embedding with one row per position; None if positions enter in the blocks.
        offset: row of position 0.
        dropout: share of hidden features dropped in training.

    Attributes:
        num_positions: the same.
    """

    def __init__(
        self,
        tokens: nn.Embedding,
        num_positions: int,
        positions: nn.Embedding | None = None,
        *,
        offset: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.tokens = tokens
        self.positions = positions
        self.dropout = nn.Dropout(dropout)
        self.num_positions = num_positions
        self._offset = offset

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Hidden states, shape (B, T, D), float32 for narrow dtypes of the stored embedding.

        Raises:
            SplitError: if a sequence is longer than the model has positions.
        """
        length = checked_length(ids_BT, self.num_positions)
        hidden_BTD: Tensor = widened(self.tokens(ids_BT))
        if self.positions is not None:
            places_T = torch.arange(self._offset, self._offset + length, device=ids_BT.device)
            hidden_BTD = hidden_BTD + widened(embedding(places_T, self.positions.weight))
        dropped: Tensor = self.dropout(hidden_BTD)
        return dropped


class CausalBlock(nn.Module):
    """A decoder block.

    Args:
        layer: the library's block.
        rotary: module that makes the rotations of positions, in families that have them.
        dropout: share that the block drops through functional calls, recorded so that it is known to be stochastic.
    """

    def __init__(self, layer: nn.Module, rotary: nn.Module | None = None, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.layer = layer
        self.rotary = rotary
        self.drops = nn.Dropout(dropout)

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        """Hidden states, shape (B, T, D)."""
        arguments: dict[str, Any] = {"attention_mask": None}
        if self.rotary is not None:
            places_1T = torch.arange(hidden_BTD.shape[1], device=hidden_BTD.device)[None]
            arguments["position_embeddings"] = self.rotary(hidden_BTD, places_1T)
        outputs: Tensor = self.layer(hidden_BTD, **arguments)
        return outputs


class Unembedding(nn.Module):
    """Scores of every token from hidden states, kept as two factors.

    Args:
        weight_VD: one row per token; on a client the embedding's own tensor if the model ties the two.
    """

    def __init__(self, weight_VD: nn.Parameter) -> None:
        super().__init__()
        self.weight = weight_VD

    def forward(self, hidden_BTD: Tensor) -> TokenLogits:
        """The scores, not computed yet."""
        return TokenLogits(hidden_BTD, self.weight)
