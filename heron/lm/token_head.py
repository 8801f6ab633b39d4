"""Heads that score the next token: the auxiliary network of a causal language model, and heads of its layer groups.

    h -> h + U norm(h) V -> the model's last normalisation -> its unembedding

A local head reads hidden states of a middle block as the last ones, after a translation that learns: the tuned lens
(Belrose et al., arXiv 2303.08112) of a low rank, which begins as the identity.

`B` examples, `T` positions, `D` features.
"""

import copy
from collections import OrderedDict

import torch
from torch import Tensor, nn

from heron.errors import SplitError

_RANK = 8


class TokenHead(nn.Sequential):
    """Auxiliary network of a causal language model: blocks, a normalisation `norm`, an unembedding `unembedding`."""

    def make_local_head(self, dtype: torch.dtype) -> nn.Sequential:
        """Make a head for the hidden states of a lower layer group; weights that are frozen are this network's own.

        Args:
            dtype: element type of the weights that learn.

        Raises:
            SplitError: if the unembedding trains, which every head would do for itself.
        """
        unembedding = self.get_submodule("unembedding")
        weight = unembedding.get_parameter("weight")
        if weight.requires_grad:
            raise SplitError(
                "expected a frozen unembedding where layer groups of a language model have local heads, found one that "
                "trains; set split.lora_rank, or client.learning=zeroth_order"
            )
        layers = OrderedDict(
            translation=Translation(weight.shape[1], dtype),
            norm=copy_trainable(self.get_submodule("norm")),
            unembedding=copy_trainable(unembedding),
        )
        return nn.Sequential(layers)


class Translation(nn.Module):
    """Hidden states of one block as those of a later one: a residual of low rank, zero at first.

    Args:
        width: D.
        dtype: element type of the weights.
    """

    def __init__(self, width: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.down = nn.Linear(width, min(_RANK, width), bias=False, dtype=dtype)
        self.up = nn.Linear(min(_RANK, width), width, dtype=dtype)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        """Hidden states, shape (B, T, D)."""
        change_BTD: Tensor = self.up(self.down(self.norm(hidden_BTD)))
        return hidden_BTD + change_BTD


def copy_trainable(module: nn.Module) -> nn.Module:
    """Copy a module, but for its frozen parameters, which are the original's own.

    Args:
        module: any module; stays as it is.
    """
    # Copied by hand: `deepcopy` of a fake tensor would copy its mode, too.
    copies: dict[int, Tensor] = {id(buffer): buffer.clone() for buffer in module.buffers()}
    for parameter in module.parameters():
        own = nn.Parameter(parameter.detach().clone()) if parameter.requires_grad else parameter
        copies[id(parameter)] = own
    return copy.deepcopy(module, copies)
