"""Choice of what trains in a language model: all weights, or LoRA next to frozen base weights, by `peft`."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from heron.errors import MissingExtraError, SplitError
from heron.lm.encoders import reader_of
from heron.lm.widening import store_narrow_

LoraLayers = Literal["attention", "all"]
"""Linear layers of a block that LoRA adapts."""
Base = Literal["float32", "bfloat16", "int8"]
"""Element type in which frozen matrices are stored."""


@dataclass(frozen=True)
class Adaptation:
    """Settings of fine-tuning a pre-trained model.

    Attributes:
        lora_rank: rank of LoRA (Hu et al., arXiv 2106.09685) next to frozen weights, >= 0; 0 trains all weights.
        lora_alpha: LoRA's scale is alpha / rank; >= 1.
        lora_layers: layers that get LoRA: the linear layers of attention, or all linear layers of the blocks.
        base: dtype in which frozen matrices are stored; they compute in float32 in any case. `int8` stores the linear
            layers of the blocks, and embeddings and the unembedding then use `bfloat16`.
    """

    lora_rank: int = 8
    lora_alpha: int = 16
    lora_layers: LoraLayers = "attention"
    base: Base = "float32"

    def apply_(self, module: nn.Module, config: Any, trained: Sequence[nn.Module] = ()) -> None:
        """Freeze the weights that do not train, add LoRA to them, and store them in the dtype `base`.

        Args:
            module: a model of `transformers`, or parts of one; changed in place. LoRA's products start at zero.
            config: the model's configuration.
            trained: modules in it all of whose weights train, e.g. a new head.

        Raises:
            SplitError: if a number is out of range, a narrow `base` is set but no weight is frozen, or a weight to be
                stored in int8 is not finite.
            MissingExtraError: if `peft` is not installed.
        """
        if self.lora_rank:
            self._add_lora_(module, config)
            for head in trained:
                head.requires_grad_(True)
        elif self.base != "float32":
            raise SplitError(
                f"expected split.base=float32 if all weights train, found {self.base}; set split.lora_rank too"
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
        family = reader_of(config)
        names = family.attention_layers if self.lora_layers == "attention" else family.all_layers
        settings = LoraConfig(
            r=self.lora_rank,
            lora_alpha=self.lora_alpha,
            target_modules=list(names),
            fan_in_fan_out=family.is_transposed,
        )
        module.requires_grad_(False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings about layers of the model that this part lacks
            inject_adapter_in_model(settings, module)


def merge_lora_(model: Any) -> None:
    """Add LoRA's low-rank products to the base weights, then remove the LoRA layers.

    Args:
        model: a model of `transformers`; changed in place. Its base weights have a dtype wide enough for the sum.

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
