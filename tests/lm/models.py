"""Tiny random language models of every family, as `save_pretrained` writes them."""

from pathlib import Path
from typing import Any

import torch

NUM_TOKENS, NUM_POSITIONS, WIDTH, NUM_BLOCKS = 61, 24, 16, 3

_ROTARY = {
    "vocab_size": NUM_TOKENS,
    "hidden_size": WIDTH,
    "intermediate_size": 24,
    "num_hidden_layers": NUM_BLOCKS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": NUM_POSITIONS,
}
_OPT = {
    "vocab_size": NUM_TOKENS,
    "hidden_size": WIDTH,
    "word_embed_proj_dim": WIDTH,
    "ffn_dim": 24,
    "num_hidden_layers": NUM_BLOCKS,
    "num_attention_heads": 2,
    "max_position_embeddings": NUM_POSITIONS,
}
_GPT2 = {
    "vocab_size": NUM_TOKENS,
    "n_positions": NUM_POSITIONS,
    "n_embd": WIDTH,
    "n_layer": NUM_BLOCKS,
    "n_head": 2,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
_NO_DROPOUT = {"embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", _GPT2 | _NO_DROPOUT),
    "gpt2, dropout": ("gpt2", _GPT2 | _NO_DROPOUT | {"resid_pdrop": 0.3}),
    "gpt2, untied": ("gpt2", _GPT2 | _NO_DROPOUT | {"tie_word_embeddings": False}),
    "opt": ("opt", _OPT | {"dropout": 0.0}),
    "opt, dropout": ("opt", _OPT | {"dropout": 0.3}),
    "opt, norm after": ("opt", _OPT | {"dropout": 0.0, "do_layer_norm_before": False}),
    "llama": ("llama", _ROTARY),
    "llama, tied": ("llama", _ROTARY | {"tie_word_embeddings": True}),
    "qwen2": ("qwen2", _ROTARY),
    "qwen2, tied": ("qwen2", _ROTARY | {"tie_word_embeddings": True}),
}
"""Name -> family and configuration."""
TIED = ("gpt2", "opt", "llama, tied", "qwen2, tied")


def uncut(name: str, **changes: Any) -> Any:
    """A model of `transformers` with weights large enough for every layer to matter, in evaluation mode."""
    from transformers import AutoConfig, AutoModelForCausalLM

    family, values = MODELS[name]
    config = AutoConfig.for_model(family, **values | changes)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def save(name: str, directory: Path, **changes: Any) -> str:
    """The path that `causal_lm` reads it from."""
    uncut(name, **changes).save_pretrained(directory)
    return str(directory)
