"""Models of `transformers`, cut: causal language models, and classifiers of texts, with LoRA by `peft`.

Read in this order: `layers`, `families`, `cutting`, `adaptation`, `widening`, `rounding`, `quiet`, `pretrained`,
`parts`, `build`, `settings`, `whole`; of classifiers `masked`, `encoders`, `pretrained_classifier`, `classifier`,
`classifier_settings`, `classifier_export`. The libraries are imported when they are needed.
"""

from heron.faces import extra_named

with extra_named():
    from heron.lm.adaptation import Adaptation, Base, LoraLayers
    from heron.lm.build import causal_lm, causal_lm_client
    from heron.lm.classifier import ClassifierPlan, ClassifierSplit
    from heron.lm.classifier_export import save_classifier, whole_classifier
    from heron.lm.classifier_settings import TextClassifier
    from heron.lm.cutting import CausalLmSplit
    from heron.lm.parts import load_client_parts, write_parts
    from heron.lm.pretrained import causal_lm_config, load_tokenizer
    from heron.lm.settings import CausalLm
    from heron.lm.whole import continuations, save_whole, whole_model

__all__ = [
    "Adaptation",
    "Base",
    "CausalLm",
    "CausalLmSplit",
    "ClassifierPlan",
    "ClassifierSplit",
    "LoraLayers",
    "TextClassifier",
    "causal_lm",
    "causal_lm_client",
    "causal_lm_config",
    "continuations",
    "load_client_parts",
    "load_tokenizer",
    "save_classifier",
    "save_whole",
    "whole_classifier",
    "whole_model",
    "write_parts",
]
