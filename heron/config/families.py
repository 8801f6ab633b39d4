"""Table of the model families."""

from heron.lm import CausalLm, TextClassifier
from heron.split import DigitsCnn, ModelFamily, ResNet18

MODELS: dict[str, type[ModelFamily]] = {
    "digits_cnn": DigitsCnn,
    "resnet18": ResNet18,
    "causal_lm": CausalLm,
    "text_classifier": TextClassifier,
}
"""Model families by name, the value of `split.model`."""
