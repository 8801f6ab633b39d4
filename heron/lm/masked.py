"""Layers of a classifier of texts. Each maps one tensor to one tensor that says which positions are padding.

A server that has smashed data alone must know which positions to leave out. So hidden states carry one feature more,
the last one: 1 where a position counts, 0 where it is padding (docs/decisions/0051-text-classifiers.md). It crosses
the cut like any other feature. It is compared with 1/2, so that every codec of smashed data keeps it.

The first position counts always: no example is empty, whatever its tokens.

`B` examples, `T` positions, `D` features, `X` = D + 1.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from heron.lm.layers import checked_length, widened

Pooling = Literal["mean", "first", "last"]
"""The place of a text's meaning: the mean over positions, its first position, or its last one."""


def _apart(hidden_BTX: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden states (B, T, D), and which positions count (B, T)."""
    return hidden_BTX[..., :-1], hidden_BTX[..., -1] > 0.5


class EncoderEmbedding(nn.Module):
    """Embedding of an encoder: the sum of rows of its tables, normalised.

    Args:
        layer: the library's embeddings.
        num_positions: length of the longest sequence.
        offset: row of position 0.
    """

    def __init__(self, layer: Any, num_positions: int, offset: int = 0) -> None:
        super().__init__()
        self.tokens = layer.word_embeddings
        self.positions = layer.position_embeddings
        self.types = getattr(layer, "token_type_embeddings", None)
        self.norm = layer.LayerNorm
        self.dropout = layer.dropout
        self._num_positions = num_positions
        self._offset = offset

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Hidden states, shape (B, T, D), float32 for narrow dtypes of the stored tables.

        Raises:
            SplitError: if a sequence is longer than the model has positions.
        """
        length = checked_length(ids_BT, self._num_positions)
        hidden_BTD: Tensor = widened(self.tokens(ids_BT))
        if self.types is not None:
            hidden_BTD = hidden_BTD + widened(self.types.weight[0])
        places_T = torch.arange(self._offset, self._offset + length, device=ids_BT.device)
        hidden_BTD = hidden_BTD + widened(embedding(places_T, self.positions.weight))
        dropped: Tensor = self.dropout(self.norm(hidden_BTD))
        return dropped


class EncoderBlock(nn.Module):
    """A block whose positions attend to all that count.

    Args:
        layer: the library's block.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, hidden_BTD: Tensor, counts_BT: Tensor) -> Tensor:
        """Hidden states, shape (B, T, D)."""
        outputs: Tensor = self.layer(hidden_BTD, attention_mask=counts_BT[:, None, None, :])
        return outputs


class MaskedEmbedding(nn.Module):
    """Tokens to hidden states that carry which of them count.

    Args:
        layer: maps tokens (B, T) to hidden states (B, T, D).
        pad: the token that pads.
    """

    def __init__(self, layer: nn.Module, pad: int) -> None:
        super().__init__()
        self.layer = layer
        self._pad = pad

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Hidden states, shape (B, T, X)."""
        hidden_BTD: Tensor = self.layer(ids_BT)
        is_first_T = torch.arange(ids_BT.shape[1], device=ids_BT.device) == 0
        counts_BT = (ids_BT != self._pad) | is_first_T
        return torch.cat([hidden_BTD, counts_BT[..., None].to(hidden_BTD.dtype)], dim=-1)


class MaskedBlock(nn.Module):
    """A block that hands on which positions count.

    Args:
        layer: an `EncoderBlock`, or a `CausalBlock`: padding on the right reaches no position that counts there.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, hidden_BTX: Tensor) -> Tensor:
        """Hidden states, shape (B, T, X)."""
        hidden_BTD, counts_BT = _apart(hidden_BTX)
        seen = (counts_BT,) if isinstance(self.layer, EncoderBlock) else ()
        return torch.cat([self.layer(hidden_BTD, *seen), hidden_BTX[..., -1:]], dim=-1)

    def make_local_head(self, shape: Sequence[int], num_scores: int) -> nn.Sequential:
        """Make a head that reads these hidden states, of one example's shape (T, X), and leaves padding out."""
        return mean_head(shape[-1] - 1, num_scores, is_causal=not isinstance(self.layer, EncoderBlock))


class Pool(nn.Module):
    """Hidden states of a text to one vector.

    Args:
        how: the place of the text's meaning.
    """

    def __init__(self, how: Pooling) -> None:
        super().__init__()
        self.how = how

    def forward(self, hidden_BTX: Tensor) -> Tensor:
        """Vectors, shape (B, D)."""
        hidden_BTD, counts_BT = _apart(hidden_BTX)
        if self.how == "first":
            return hidden_BTD[:, 0]
        if self.how == "last":
            places_T = torch.arange(counts_BT.shape[1], device=counts_BT.device)
            last_B = (counts_BT * places_T).amax(dim=1)
            rows: Tensor = hidden_BTD.gather(1, last_B[:, None, None].expand(-1, 1, hidden_BTD.shape[-1]))
            return rows[:, 0]
        weights_BT = counts_BT.to(hidden_BTD.dtype)
        return (hidden_BTD * weights_BT[..., None]).sum(dim=1) / weights_BT.sum(dim=1, keepdim=True).clamp(min=1)


class OfFirstPosition(nn.Module):
    """A module of the library that reads the first position of a sequence, for a vector.

    Args:
        layer: maps (B, 1, D) to outputs.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, vectors_BD: Tensor) -> Tensor:
        """Outputs of the module."""
        outputs: Tensor = self.layer(vectors_BD[:, None])
        return outputs


def mean_head(width: int, num_scores: int, *, is_causal: bool) -> nn.Sequential:
    """One linear layer on the mean over positions: the auxiliary network, and the head of a layer group.

    Args:
        width: D.
        num_scores: C.
        is_causal: whether the hidden states are those of a causal model, which are of any size: they are normalised.
    """
    norm = {"norm": nn.LayerNorm(width)} if is_causal else {}
    return nn.Sequential(OrderedDict({"pool": Pool("mean")} | norm | {"classifier": nn.Linear(width, num_scores)}))
