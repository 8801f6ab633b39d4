"""Sources of a language model: a directory, the hub, or, for costs alone, its configuration with random weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from heron.data.folder import model_folder
from heron.data.hub import only_cached
from heron.errors import MissingExtraError, SplitError
from heron.lm.families import family_of
from heron.lm.quiet import quiet_transformers

# Model files must not run code of their own; without this option the libraries ask at the terminal for permission.
_NO_CODE = {"trust_remote_code": False}
# With this file in a folder the libraries load an adapter on top of the model.
_ADAPTER = "adapter_config.json"

# Costs need sizes alone, no download. Radford et al., "Language Models are Unsupervised Multitask Learners", 2019;
# Zhang et al., "OPT: Open Pre-trained Transformer Language Models", arXiv 2205.01068.
_KNOWN_SIZES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", {}),
    "gpt2-medium": ("gpt2", {"n_embd": 1024, "n_layer": 24, "n_head": 16}),
    "gpt2-large": ("gpt2", {"n_embd": 1280, "n_layer": 36, "n_head": 20}),
    "gpt2-xl": ("gpt2", {"n_embd": 1600, "n_layer": 48, "n_head": 25}),
    "facebook/opt-125m": ("opt", {}),
}


def load_causal_lm(source: str, *, random_weights: bool = False, num_blocks: int | None = None) -> Any:
    """Load a causal language model in float32 with fused causal attention; only safetensors files are read.

    Args:
        source: a directory in the layout of `save_pretrained`, the name of one in `models/` next to the data
            (`HERON_DATA`), or a name on the hub.
        random_weights: whether to build the model from its configuration alone; the sizes of GPT-2 need no file.
        num_blocks: number of blocks, the first of the model; no others are made or read. None for all.

    Raises:
        SplitError: if the model is not available, has no adapter, or lacks weights.
        MissingExtraError: if `transformers` is not installed.
    """
    try:
        from transformers import AutoModelForCausalLM
    except ImportError as error:
        raise MissingExtraError("transformers", "language") from error
    config = causal_lm_config(source, known_sizes=random_weights)
    own = {"generation_config": _own_generation(config)}
    return load_weights(
        AutoModelForCausalLM, source, config, random_weights=random_weights, num_blocks=num_blocks, options=own
    )


def load_weights(
    loader: Any,
    source: str,
    config: Any,
    *,
    random_weights: bool,
    num_blocks: int | None,
    options: dict[str, Any] | None = None,
    new_weights: tuple[str, ...] = (),
) -> Any:
    """Load a model by one of the library's automatic classes, in float32 with fused attention.

    Args:
        loader: the class.
        source: as for `load_causal_lm`.
        config: the model's configuration; changed in place if there is a number of blocks.
        random_weights: as for `load_causal_lm`.
        num_blocks: as for `load_causal_lm`.
        options: further ones for the library where weights are read.
        new_weights: beginnings of the names of weights that may be absent; the library draws them.

    Raises:
        SplitError: if the model is not available or lacks weights.
    """
    if (located(source) / _ADAPTER).exists():
        raise _holds_adapter(source)
    if num_blocks is not None:
        config.num_hidden_layers = num_blocks
        if getattr(config, "layer_types", None) is not None:  # one for each block
            config.layer_types = config.layer_types[:num_blocks]
    common: dict[str, Any] = {"dtype": torch.float32, "attn_implementation": "sdpa", **_NO_CODE}
    if random_weights:
        return loader.from_config(config, **common)
    try:
        with quiet_transformers():
            model, report = loader.from_pretrained(
                str(located(source)),
                config=config,
                use_safetensors=True,
                output_loading_info=True,
                local_files_only=only_cached(located(source)),
                **(options or {}),
                **common,
            )
    except Exception as error:  # the hub's client and the file formats raise many types
        raise _not_found(source, error) from error
    if getattr(model, "_hf_peft_config_loaded", False):  # one from the hub
        raise _holds_adapter(source)
    # The library continues with random weights in place of those that are absent.
    absent = [name for name in report["missing_keys"] if not name.startswith(new_weights)]
    if absent:
        raise SplitError(
            f"expected all weights of the model in {source}, found none of {min(absent)}; download or save it again"
        )
    return model


def causal_lm_config(source: str, *, known_sizes: bool = False) -> Any:
    """The configuration of a model.

    Args:
        source: as for `load_causal_lm`.
        known_sizes: whether built-in sizes of GPT-2 models may replace missing files.

    Raises:
        SplitError: if the configuration is not available, or no adapter fits it.
        MissingExtraError: if `transformers` is not installed.
    """
    return load_config(source, family_of, known_sizes=known_sizes)


def load_config(source: str, check: Callable[[Any], Any], *, known_sizes: bool, **changes: Any) -> Any:
    """The configuration of a model, checked before its weights are read.

    Args:
        source: as for `load_causal_lm`.
        check: refuses a configuration that has no adapter.
        known_sizes: whether built-in sizes of models may replace missing files.
        changes: other values for keys of the configuration.

    Raises:
        SplitError: if the configuration is not available, or no adapter fits it.
        MissingExtraError: if `transformers` is not installed.
    """
    try:
        from transformers import AutoConfig
    except ImportError as error:
        raise MissingExtraError("transformers", "language") from error
    folder = located(source)
    if known_sizes and not folder.is_dir() and source in _KNOWN_SIZES:
        family, sizes = _KNOWN_SIZES[source]
        return AutoConfig.for_model(family, **sizes, **changes)
    try:
        config = AutoConfig.from_pretrained(str(folder), local_files_only=only_cached(folder), **_NO_CODE, **changes)
    except Exception as error:
        raise _not_found(source, error) from error
    check(config)
    return config


def load_tokenizer(source: str, num_tokens: int, *, needs_end: bool = True) -> Any:
    """The tokenizer that belongs to a model.

    Args:
        source: as for `load_causal_lm`.
        num_tokens: size of the model's vocabulary.
        needs_end: whether texts are continued, up to an end token.

    Raises:
        SplitError: if it is not available, is empty, has no end token, or makes ids outside the model's vocabulary.
        MissingExtraError: if `transformers` is not installed.
    """
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise MissingExtraError("transformers", "language") from error
    try:
        folder = located(source)
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=only_cached(folder), **_NO_CODE)
    except Exception as error:
        raise _not_found(source, error) from error
    if not 1 < len(tokenizer) <= num_tokens:
        raise SplitError(
            f"expected a tokenizer of at least 2 and at most {num_tokens} tokens, as many as the model in {source} "
            f"embeds, found {len(tokenizer)}; give the tokenizer that belongs to the model"
        )
    if needs_end and tokenizer.eos_token_id is None:
        raise SplitError(f"expected a tokenizer with an end token, found none in {source}; set its eos_token")
    return tokenizer


def _own_generation(config: Any) -> Any:
    """Defaults for generating in place of those in the model's folder: greedy, with the end token of the model."""
    from transformers import GenerationConfig

    ids = {name: getattr(config, name, None) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    return GenerationConfig(**ids)  # type: ignore[no-untyped-call]


def _holds_adapter(source: str) -> SplitError:
    return SplitError(
        f"expected a whole model in {source}, found an {_ADAPTER} in it, whose adapter would change the weights; merge "
        f"the two (merge_and_unload of peft) and save the model, or remove the file"
    )


def located(source: str) -> Path:
    """The directory that the name of a model stands for, or the name itself, as a path."""
    beside = model_folder(source)
    return beside if not Path(source).is_dir() and beside.is_dir() else Path(source)


def _not_found(source: str, error: Exception) -> SplitError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return SplitError(
        f"expected a language model {source!r} in a directory or on the hub, found none that loads ({reason}); give a "
        f"directory that save_pretrained wrote, or a name on the hub, as split.pretrained"
    )
