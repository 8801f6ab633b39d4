"""Families of `transformers` whose models classify texts: one small adapter each, next to those of `families`."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from heron.errors import SplitError
from heron.lm.families import FAMILIES, check_supported, family_of
from heron.lm.masked import EncoderBlock, EncoderEmbedding, OfFirstPosition, Pooling


@dataclass(frozen=True)
class Reader:
    """Adapter of a family of classifiers: where its models keep their parts.

    Attributes:
        embed: function that makes the embedding layer of a model.
        blocks: function that returns the model's own list of blocks.
        wrap: function that makes a layer from one of these blocks.
        head: functions from a model to the modules after pooling, its last module the linear one of the classes, by
            pooling: those that the family has.
        attention_layers: names of the linear layers in attention, the default place of LoRA.
        all_layers: names of all linear layers in a block.
        unsupported: settings that change the computation in a way that the layers here do not implement, each with the
            value that is supported.
        new_weights: beginnings of the names of weights that a pre-trained model may lack: those of the head.
        is_transposed: whether the linear layers hold their weights as (inputs, outputs), unlike `nn.Linear`.
        is_causal: whether positions attend to those on their left alone.
    """

    embed: Callable[[Any], nn.Module]
    blocks: Callable[[Any], nn.ModuleList]
    wrap: Callable[[Any, nn.Module], nn.Module]
    head: Mapping[Pooling, Callable[[Any], Mapping[str, nn.Module]]]
    attention_layers: tuple[str, ...]
    all_layers: tuple[str, ...]
    unsupported: Mapping[str, object]
    new_weights: tuple[str, ...]
    is_transposed: bool = False
    is_causal: bool = False


def reader_of(config: Any) -> Reader:
    """The adapter of a model's family.

    Args:
        config: the model's configuration, of `transformers`.

    Raises:
        SplitError: if there is no adapter, or the model uses a setting that the adapter does not support.
    """
    if config.model_type in FAMILIES:
        return _decoder(config)
    reader = ENCODERS.get(config.model_type)
    if reader is None:
        raise SplitError(
            f"expected a model of {', '.join((*ENCODERS, *FAMILIES))} to classify texts with, found "
            f"{config.model_type!r}; choose one of these, or add an adapter to heron/lm/encoders.py"
        )
    check_supported(config, reader.unsupported)
    return reader


def _embed_bert(model: Any) -> EncoderEmbedding:
    return EncoderEmbedding(model.base_model.embeddings, model.config.max_position_embeddings)


def _embed_roberta(model: Any) -> EncoderEmbedding:
    # Positions are counted from the row after that of padding.
    offset = model.config.pad_token_id + 1
    return EncoderEmbedding(model.base_model.embeddings, model.config.max_position_embeddings - offset, offset)


def _encoder_blocks(model: Any) -> nn.ModuleList:
    blocks: nn.ModuleList = model.base_model.encoder.layer
    return blocks


def _distilbert_blocks(model: Any) -> nn.ModuleList:
    blocks: nn.ModuleList = model.base_model.transformer.layer
    return blocks


def _plain_head(model: Any) -> Mapping[str, nn.Module]:
    return {"dropout": model.dropout, "classifier": model.classifier}


def _bert_head(model: Any) -> Mapping[str, nn.Module]:
    return {"pooler": OfFirstPosition(model.base_model.pooler), **_plain_head(model)}


def _distilbert_head(model: Any) -> Mapping[str, nn.Module]:
    return {"pre_classifier": model.pre_classifier, "relu": nn.ReLU(), **_plain_head(model)}


def _decoder(config: Any) -> Reader:
    """The adapter of a causal model: its last position sees the whole text."""
    family = family_of(config)

    def head(model: Any) -> Mapping[str, nn.Module]:
        norm = family.norm(model)
        return OrderedDict(norm=norm if norm is not None else nn.Identity(), score=model.score)

    return Reader(
        embed=family.embed,
        blocks=family.blocks,
        wrap=family.wrap,
        head={"last": head},
        attention_layers=family.attention_layers,
        all_layers=family.all_layers,
        unsupported=family.unsupported,
        new_weights=("score.",),
        is_transposed=family.is_transposed,
        is_causal=True,
    )


_BERT = Reader(
    embed=_embed_bert,
    blocks=_encoder_blocks,
    wrap=lambda _, layer: EncoderBlock(layer),
    head={"mean": _plain_head, "first": _bert_head},
    attention_layers=("query", "key", "value"),
    # The first of the last three is that of attention, too.
    all_layers=("query", "key", "value", "output.dense", "intermediate.dense"),
    unsupported={"is_decoder": False, "add_cross_attention": False, "position_embedding_type": "absolute"},
    new_weights=("classifier.", "bert.pooler."),
)
ENCODERS: dict[str, Reader] = {
    "bert": _BERT,
    "roberta": Reader(
        embed=_embed_roberta,
        blocks=_encoder_blocks,
        wrap=_BERT.wrap,
        head={
            "mean": lambda model: {"dropout": model.classifier.dropout, "classifier": model.classifier.out_proj},
            "first": lambda model: {"classifier": OfFirstPosition(model.classifier)},
        },
        attention_layers=_BERT.attention_layers,
        all_layers=_BERT.all_layers,
        unsupported=_BERT.unsupported,
        new_weights=("classifier.",),
    ),
    "distilbert": Reader(
        embed=_embed_bert,
        blocks=_distilbert_blocks,
        wrap=_BERT.wrap,
        head={"mean": _plain_head, "first": _distilbert_head},
        attention_layers=("q_lin", "k_lin", "v_lin"),
        all_layers=("q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"),
        unsupported={},
        new_weights=("classifier.", "pre_classifier."),
    ),
}
"""Adapters of encoders by the type of their configuration."""
