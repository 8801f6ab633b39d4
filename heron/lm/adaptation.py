"""What of a language model trains: everything, or LoRA beside frozen base weights, by `peft`."""

import warnings
from typing import Any, Literal

from torch import nn

from heron.errors import MissingExtraError, SplitError
from heron.lm.families import family_of

LoraLayers = Literal["attention", "all"]


def add_lora_(model: Any, *, rank: int, alpha: int, layers: LoraLayers) -> None:
    """Freeze a model and put a trainable low-rank product beside its linear layers (Hu et al., arXiv 2106.09685).

    Args:
        model: a causal language model of `transformers`; changed in place. The products start at zero.
        rank: of the products, at least 1.
        alpha: their scale is alpha / rank.
        layers: linear layers of attention, or all in the blocks.

    Raises:
        SplitError: if a number is out of range.
        MissingExtraError: if `peft` is not installed.
    """
    if rank < 1 or alpha < 1:
        raise SplitError(f"expected split.lora_rank and split.lora_alpha of at least 1, found {rank} and {alpha}")
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise MissingExtraError("peft", "language") from error
    family = family_of(model.config)
    names = family.attention_layers if layers == "attention" else family.all_layers
    is_transposed = model.config.model_type == "gpt2"
    settings = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(names), fan_in_fan_out=is_transposed)
    model.requires_grad_(False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about layers of models that it is not given here
        inject_adapter_in_model(settings, model)


def merge_lora_(model: Any) -> None:
    """Add the low-rank products to the base weights and remove them.

    Args:
        model: a causal language model; changed in place, base weights in a dtype that can bear the sum.
    """
    names = {layer: name for name, layer in model.named_modules()}
    for layer in _lora_layers(model):
        layer.merge()
        parent, _, last = names[layer].rpartition(".")
        setattr(model.get_submodule(parent), last, layer.get_base_layer())


def _lora_layers(model: nn.Module) -> list[Any]:
    from peft.tuners.lora import LoraLayer

    return [module for module in model.modules() if isinstance(module, LoraLayer)]
