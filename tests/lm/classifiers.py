"""Tiny random classifiers of texts of every family, as `save_pretrained` writes them, and padded texts."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

NUM_TOKENS, NUM_POSITIONS, WIDTH, NUM_BLOCKS, CLASSES = 37, 14, 16, 6, 3
LENGTHS = (7, 2, 5, 1)
_BERT = {
    "vocab_size": NUM_TOKENS,
    "hidden_size": WIDTH,
    "intermediate_size": 24,
    "num_hidden_layers": NUM_BLOCKS,
    "num_attention_heads": 2,
    "max_position_embeddings": NUM_POSITIONS,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "pad_token_id": 1,
}
_DISTILBERT = {
    "vocab_size": NUM_TOKENS,
    "dim": WIDTH,
    "hidden_dim": 24,
    "n_layers": NUM_BLOCKS,
    "n_heads": 2,
    "max_position_embeddings": NUM_POSITIONS,
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "seq_classif_dropout": 0.0,
    "pad_token_id": 1,
}
_GPT2 = {
    "vocab_size": NUM_TOKENS,
    "n_positions": NUM_POSITIONS,
    "n_embd": WIDTH,
    "n_layer": NUM_BLOCKS,
    "n_head": 2,
    "eos_token_id": 1,
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
    "resid_pdrop": 0.0,
}
_OPT = {
    "vocab_size": NUM_TOKENS,
    "hidden_size": WIDTH,
    "word_embed_proj_dim": WIDTH,
    "ffn_dim": 24,
    "num_hidden_layers": NUM_BLOCKS,
    "num_attention_heads": 2,
    "max_position_embeddings": NUM_POSITIONS,
    "pad_token_id": 1,
    "dropout": 0.0,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "bert": _BERT,
    "roberta": _BERT,
    "distilbert": _DISTILBERT,
    "gpt2": _GPT2,
    "opt": _OPT,
}
ROWS = [(family, how) for family in ("bert", "roberta", "distilbert") for how in ("mean", "first")]
ROWS += [("gpt2", "last"), ("opt", "last")]
"""Family and pooling."""
PAD = 1


def texts() -> tuple[Tensor, Tensor]:
    """Tokens of texts of different lengths, padded, and their attention mask."""
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(2, NUM_TOKENS, (len(LENGTHS), max(LENGTHS)), generator=generator)
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    return torch.where(mask, ids, PAD), mask.long()


def save(family: str, directory: Path) -> str:
    """Write a model with weights large enough for every layer to matter, its head included; return its path."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    config = AutoConfig.for_model(family, **CONFIGS[family], num_labels=CLASSES)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(directory)
    return str(directory)
