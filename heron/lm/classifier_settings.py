"""The model family `text_classifier` of a run's settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Lt

from heron.data import Tokenizer
from heron.lm.adaptation import Adaptation, Base, LoraLayers
from heron.lm.classifier import ClassifierPlan, ClassifierSplit
from heron.lm.masked import Pooling
from heron.lm.pretrained_classifier import classifier_config, classifier_tokenizer
from heron.ranges import NonNegativeInt, PositiveInt
from heron.seeds import derive_seed
from heron.split import ClientPart, ModelFamily, build_seeded


@dataclass(frozen=True)
class TextClassifier(ModelFamily):
    """A classifier of texts of `transformers`: BERT, RoBERTa, DistilBERT, or a causal model (GPT-2, OPT, Llama, Qwen2).

    The head is on the server; clients have the mean over positions and one linear layer as their auxiliary network.

    Attributes:
        model: `text_classifier`.
        pretrained: a directory that `save_pretrained` wrote, one in `models/` next to the data, or a name on the hub.
        cut: blocks on the client.
        num_classes: classes of the data.
        pooling: `mean` over positions or `first` position for an encoder, `last` position for a causal model.
        lora_rank: rank of LoRA in all parts, next to frozen weights; 0 trains all weights. Heads train in any case.
        lora_alpha: LoRA's scale is alpha / rank.
        lora_layers: `attention`, or `all` linear layers in the blocks.
        base: how frozen matrices are stored, `float32`, `bfloat16` or `int8` (linear layers in the blocks, the rest in
            bfloat16); they compute in float32.
    """

    reads_text: ClassVar[bool] = True

    model: Literal["text_classifier"] = "text_classifier"
    pretrained: str = "distilbert/distilbert-base-uncased"
    cut: PositiveInt = 2
    num_classes: Annotated[int, Ge(2), Lt(2**20)] = 2
    pooling: Pooling = "mean"
    lora_rank: NonNegativeInt = 8
    lora_alpha: PositiveInt = 16
    lora_layers: LoraLayers = "attention"
    base: Base = "float32"

    def network(self, *, random_weights: bool = False) -> ClassifierSplit:
        """Make the cut network. Arguments as of `ModelFamily.network`."""
        return self._plan.build(random_weights=random_weights)

    def build_client(self, seed: int, *, with_auxiliary: bool = True) -> ClientPart:
        """Build what a client holds; the server's blocks are never loaded. Arguments as of `ModelFamily`'s."""
        plan = self._plan
        return build_seeded(lambda: plan.build_client(with_auxiliary=with_auxiliary), derive_seed("init", seed))

    def neighbours(self, count: int) -> Sequence[int]:
        """List other places for the cut. Arguments as of `ModelFamily.neighbours`."""
        return [*range(max(1, self.cut - count), self.cut), *range(self.cut + 1, self.cut + 1 + count)]

    @property
    def pretrained_source(self) -> str:
        """Name of the pre-trained model whose weights are loaded."""
        return self.pretrained

    def load_tokenizer(self) -> Tokenizer:
        """Load the model's tokenizer.

        Raises:
            SplitError: if model or tokenizer are not available.
            MissingExtraError: if `transformers` is not installed.
        """
        config = classifier_config(self.pretrained, self.num_classes, self.pooling)
        return classifier_tokenizer(self.pretrained, config)

    @property
    def _plan(self) -> ClassifierPlan:
        adaptation = Adaptation(self.lora_rank, self.lora_alpha, self.lora_layers, self.base)
        return ClassifierPlan(self.pretrained, self.cut, self.num_classes, self.pooling, adaptation)
