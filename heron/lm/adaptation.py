"""What of a language model trains: everything, or LoRA beside frozen base weights, by `peft`."""

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from heron.errors import MissingExtraError, SplitError
from heron.lm.families import family_of
from heron.lm.widening import store_narrow_

LoraLayers = Literal["attention", "all"]
Base = Literal["float32", "bfloat16", "int8"]


@dataclass(frozen=True)
class Adaptation:
    """How a pre-trained model is fine-tuned.

    Attributes:
        lora_rank: rank of LoRA (Hu et al., arXiv 2106.09685) beside frozen weights, >= 0; 0 trains all weights.
        lora_alpha: LoRA's scale is alpha / rank; >= 1.
        lora_layers: linear layers of attention, or all in the blocks.
        base: how frozen matrices are stored; they compute in float32 in any case. `int8` is for linear layers in the
            blocks, with embeddings and the unembedding in `bfloat16`.
    """

    lora_rank: int = 8
    lora_alpha: int = 16
    lora_layers: LoraLayers = "attention"
    base: Base = "float32"

    def apply_(self, module: nn.Module, config: Any) -> None:
        """Freeze what does not train, put LoRA beside it and store it as asked.

        Args:
            module: a model of `transformers`, or parts of one; changed in place. LoRA's products start at zero.
            config: the model's configuration.

        Raises:
            SplitError: if a number is out of range, nothing is frozen that could be stored in fewer bits, or a weight
                is not finite that int8 is asked for.
            MissingExtraError: if `peft` is not installed.
        """
        if self.lora_rank:
            self._add_lora_(module, config)
        elif self.base != "float32":
            raise SplitError(
                f"expected split.base=float32 where all weights train, found {self.base}; set split.lora_rank too"
            )
        if self.base != "float32":
            store_narrow_(module, getattr(torch, self.base))

    def _add_lora_(self, module: nn.Module, config: Any) -> None:
        if self.lora_rank < 0 or self.lora_alpha < 1:
            raise SplitError(
                f"expected split.lora_rank of at least 0 and split.lora_alpha of at least 1, found {self.lora_rank} "
                f"and {self.lora_alpha}"
            )
        try:
            from peft import LoraConfig, inject_adapter_in_model
        except ImportError as error:
            raise MissingExtraError("peft", "language") from error
        family = family_of(config)
        names = family.attention_layers if self.lora_layers == "attention" else family.all_layers
        settings = LoraConfig(
            r=self.lora_rank,
            lora_alpha=self.lora_alpha,
            target_modules=list(names),
            fan_in_fan_out=family.is_transposed,
        )
        module.requires_grad_(False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about layers that are in the model, not in the part given here
            inject_adapter_in_model(settings, module)


def merge_lora_(model: Any) -> None:
    """Add the low-rank products to the base weights and remove them.

    Args:
        model: a causal language model; changed in place, base weights in a dtype that can bear the sum.

    Raises:
        MissingExtraError: if `peft` is not installed.
    """
    try:
        from peft.tuners.lora import LoraLayer
    except ImportError as error:
        raise MissingExtraError("peft", "language") from error
    for name, layer in list(model.named_modules()):
        if isinstance(layer, LoraLayer):
            layer.merge()
            model.set_submodule(name, layer.get_base_layer())
