"""Causal language models, cut: what comes from `transformers` and `peft`, and how it becomes client and server.

Read in this order: `layers`, `families`, `cutting`, `adaptation`, `widening`, `pretrained`, `build`. The libraries are
imported when they are needed.
"""

from heron.lm.adaptation import LoraLayers
from heron.lm.build import Base, causal_lm
from heron.lm.pretrained import causal_lm_config, load_tokenizer

__all__ = ["Base", "LoraLayers", "causal_lm", "causal_lm_config", "load_tokenizer"]
