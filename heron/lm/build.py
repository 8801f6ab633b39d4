"""From the few choices a run makes to a cut language model."""

from typing import Any, Literal

import torch

from heron.lm.adaptation import LoraLayers, add_lora_
from heron.lm.cutting import CausalLmSplit, cut_causal_lm
from heron.lm.pretrained import load_causal_lm
from heron.lm.widening import store_narrow_
from heron.split import build_in_any_mode

Base = Literal["float32", "bfloat16"]


def causal_lm(
    source: str,
    *,
    num_client_blocks: int,
    num_auxiliary_blocks: int,
    lora_rank: int = 8,
    lora_alpha: int = 16,
    lora_layers: LoraLayers = "attention",
    base: Base = "float32",
    random_weights: bool = False,
) -> CausalLmSplit:
    """A pre-trained causal language model, cut, ready to be fine-tuned.

    Args:
        source: a directory, or a name on the hub.
        num_client_blocks: blocks on the client, b.
        num_auxiliary_blocks: blocks of the auxiliary network, a.
        lora_rank: rank of LoRA in all parts; 0 trains all weights.
        lora_alpha: LoRA's scale is alpha / rank.
        lora_layers: where LoRA goes.
        base: how frozen matrices are stored; they compute in float32 in any case.
        random_weights: weights drawn from torch's generator in place of pre-trained ones.

    Raises:
        HeronError: if the model cannot be had or cannot be cut like this.
    """

    def adapted() -> Any:
        model = load_causal_lm(source, random_weights=random_weights)
        if lora_rank:
            add_lora_(model, rank=lora_rank, alpha=lora_alpha, layers=lora_layers)
        if base != "float32":
            store_narrow_(model, getattr(torch, base))
        return model

    return cut_causal_lm(build_in_any_mode(adapted), num_client_blocks, num_auxiliary_blocks)
