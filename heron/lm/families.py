"""Model families of `transformers`: one small adapter each, with the differences that matter for cutting."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from heron.errors import SplitError
from heron.lm.layers import CausalBlock, TokenEmbedding


@dataclass(frozen=True)
class Family:
    """Adapter of a model family: where its models keep their parts.

    Attributes:
        embed: function that makes the embedding layer of a model.
        blocks: function that returns the model's own list of decoder blocks.
        wrap: function that makes a layer from one of these blocks.
        norm: function that returns the last normalisation, or None if the model has none.
        attention_layers: names of the linear layers in attention, the default place of LoRA.
        all_layers: names of all linear layers in a block.
        unsupported: settings that change the computation in a way that the layers here do not implement, each with the
            value that is supported.
        is_transposed: whether the linear layers hold their weights as (inputs, outputs), unlike `nn.Linear`.
    """

    embed: Callable[[Any], TokenEmbedding]
    blocks: Callable[[Any], nn.ModuleList]
    wrap: Callable[[Any, nn.Module], CausalBlock]
    norm: Callable[[Any], nn.Module | None]
    attention_layers: tuple[str, ...]
    all_layers: tuple[str, ...]
    unsupported: Mapping[str, object]
    is_transposed: bool = False


def family_of(config: Any) -> Family:
    """The adapter of a model's family.

    Args:
        config: the model's configuration, of `transformers`.

    Raises:
        SplitError: if there is no adapter, or the model uses a setting that the adapter does not support.
    """
    family = FAMILIES.get(config.model_type)
    if family is None:
        raise SplitError(
            f"expected a causal language model of {', '.join(FAMILIES)}, found {config.model_type!r}; choose one of "
            f"these, or add an adapter to heron/lm/families.py"
        )
    check_supported(config, family.unsupported)
    _check_blocks(config)
    return family


def check_supported(config: Any, unsupported: Mapping[str, object]) -> None:
    """Refuse stored weights that are no numbers, and settings that the layers here do not implement.

    Args:
        config: the model's configuration, of `transformers`.
        unsupported: settings, each with the value that is supported.

    Raises:
        SplitError: naming the model's family and the setting.
    """
    if getattr(config, "quantization_config", None) is not None:
        raise SplitError(
            f"expected a {config.model_type} model whose weights are numbers, found quantised ones; choose the model "
            f"that was quantised, and split.base=int8 to store it in eight bits"
        )
    for name, supported in unsupported.items():
        found = getattr(config, name, supported)
        if found != supported:
            raise SplitError(
                f"expected a {config.model_type} model with {name} = {supported!r}, found {found!r}; choose another"
            )


def _check_blocks(config: Any) -> None:
    """Refuse blocks that compute otherwise than from all positions on the left, at rotations that stay."""
    kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention"}
    rotations = getattr(config, "rope_parameters", None) or {}
    if "dynamic" in (found := str(rotations.get("rope_type", "default"))) or found == "longrope":
        kinds.add(f"rope_type {found}")
    if kinds:
        raise SplitError(
            f"expected a {config.model_type} model with full attention and rotations that do not depend on the length "
            f"of a sequence, found {', '.join(sorted(kinds))}; choose another"
        )


def _embed_gpt2(model: Any) -> TokenEmbedding:
    body, config = model.transformer, model.config
    return TokenEmbedding(body.wte, config.n_positions, body.wpe, dropout=config.embd_pdrop)


def _embed_opt(model: Any) -> TokenEmbedding:
    body, config = model.model.decoder, model.config
    if config.word_embed_proj_dim != config.hidden_size:
        raise SplitError(
            f"expected an opt model with word_embed_proj_dim = hidden_size, found {config.word_embed_proj_dim} and "
            f"{config.hidden_size}; choose another"
        )
    # The first two rows of OPT's position table belong to no position.
    return TokenEmbedding(body.embed_tokens, config.max_position_embeddings, body.embed_positions, offset=2)


def _embed_rotary(model: Any) -> TokenEmbedding:
    return TokenEmbedding(model.model.embed_tokens, model.config.max_position_embeddings)


def _wrap_opt(model: Any, layer: nn.Module) -> CausalBlock:
    return CausalBlock(layer, dropout=max(model.config.dropout, model.config.attention_dropout))


def _wrap_rotary(model: Any, layer: nn.Module) -> CausalBlock:
    return CausalBlock(layer, model.model.rotary_emb, dropout=model.config.attention_dropout)


_ROTARY_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_LLAMA = Family(
    embed=_embed_rotary,
    blocks=lambda model: model.model.layers,
    wrap=_wrap_rotary,
    norm=lambda model: model.model.norm,
    attention_layers=_ROTARY_ATTENTION,
    all_layers=(*_ROTARY_ATTENTION, "gate_proj", "up_proj", "down_proj"),
    unsupported={"use_sliding_window": False},
)

FAMILIES: dict[str, Family] = {
    "gpt2": Family(
        embed=_embed_gpt2,
        blocks=lambda model: model.transformer.h,
        wrap=lambda _, layer: CausalBlock(layer),
        norm=lambda model: model.transformer.ln_f,
        attention_layers=("c_attn",),
        all_layers=("c_attn", "c_proj", "c_fc"),
        unsupported={
            "add_cross_attention": False,
            "reorder_and_upcast_attn": False,
            "scale_attn_by_inverse_layer_idx": False,
        },
        is_transposed=True,
    ),
    "opt": Family(
        embed=_embed_opt,
        blocks=lambda model: model.model.decoder.layers,
        wrap=_wrap_opt,
        norm=lambda model: model.model.decoder.final_layer_norm,
        attention_layers=("q_proj", "k_proj", "v_proj", "out_proj"),
        all_layers=("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"),
        unsupported={"layerdrop": 0.0},
    ),
    "llama": _LLAMA,
    "qwen2": _LLAMA,
}
