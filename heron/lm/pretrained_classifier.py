"""Sources of a classifier of texts: those of a language model, with a head of classes that may be new."""

from typing import Any

from heron.data import Tokenizer
from heron.errors import MissingExtraError, SplitError
from heron.lm.encoders import reader_of
from heron.lm.masked import Pooling
from heron.lm.pretrained import load_config, load_tokenizer, load_weights


def classifier_config(source: str, num_classes: int, pooling: Pooling, *, known_sizes: bool = False) -> Any:
    """The configuration of a model that classifies texts.

    Args:
        source: a directory that `save_pretrained` wrote, one in `models/` next to the data, or a name on the hub.
        num_classes: C.
        pooling: the place of a text's meaning.
        known_sizes: whether built-in sizes of models may replace missing files.

    Raises:
        SplitError: if the configuration is not available, has no adapter, or none with this pooling.
        MissingExtraError: if `transformers` is not installed.
    """
    config = load_config(source, reader_of, known_sizes=known_sizes, num_labels=num_classes)
    poolings = reader_of(config).head
    if pooling not in poolings:
        raise SplitError(
            f"expected split.pooling={' or '.join(poolings)} for a {config.model_type} model, found {pooling}; set it"
        )
    pad_of(config)
    return config


def load_classifier(source: str, config: Any, *, random_weights: bool = False, num_blocks: int | None = None) -> Any:
    """Load a model that classifies texts, in float32; the weights of a head that it lacks are new.

    Args:
        source: as for `classifier_config`.
        config: a result of it; changed in place if there is a number of blocks.
        random_weights: whether all weights are drawn from torch's generator.
        num_blocks: number of blocks, the first of the model; no others are made or read. None for all.

    Raises:
        SplitError: if the model is not available, or lacks weights other than those of the head.
        MissingExtraError: if `transformers` is not installed.
    """
    try:
        from transformers import AutoModelForSequenceClassification
    except ImportError as error:
        raise MissingExtraError("transformers", "language") from error
    return load_weights(
        AutoModelForSequenceClassification,
        source,
        config,
        random_weights=random_weights,
        num_blocks=num_blocks,
        new_weights=reader_of(config).new_weights,
    )


def pad_of(config: Any) -> int:
    """The token that pads: the model's own, or the end token of a model that has none.

    Args:
        config: the model's configuration.

    Raises:
        SplitError: if it has neither.
    """
    for found in (config.pad_token_id, getattr(config, "eos_token_id", None)):
        token = found[0] if isinstance(found, list) and found else found
        if isinstance(token, int) and 0 <= token < config.vocab_size:
            return token
    raise SplitError(
        f"expected a {config.model_type} model with a pad_token_id or an eos_token_id in its config.json, found "
        f"neither; set one"
    )


def classifier_tokenizer(source: str, config: Any) -> Tokenizer:
    """The tokenizer of a model that classifies texts: its special tokens included, padded with the model's token.

    Args:
        source: as for `classifier_config`.
        config: a result of it.

    Raises:
        SplitError: if it is not available.
        MissingExtraError: if `transformers` is not installed.
    """
    tokenizer = load_tokenizer(source, config.vocab_size, needs_end=False)
    pad = pad_of(config)

    def encode(text: str) -> list[int]:
        return list(tokenizer.encode(text, verbose=False))

    def first_tokens(text: str, count: int) -> list[int]:
        return list(tokenizer.encode(text, truncation=True, max_length=count))

    # RoBERTa counts its positions from the row after that of padding.
    reserved = pad + 1 if config.model_type == "roberta" else 0
    end = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else pad
    return Tokenizer(encode, end, config.max_position_embeddings - reserved, source, pad, first_tokens)
