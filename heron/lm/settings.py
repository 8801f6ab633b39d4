"""The model family `causal_lm` of a run's settings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

from torch import Tensor

from heron.data import Tokenizer
from heron.lm.adaptation import Adaptation, Base, LoraLayers
from heron.lm.build import causal_lm, causal_lm_client
from heron.lm.cutting import CausalLmSplit
from heron.lm.pretrained import causal_lm_config, load_tokenizer
from heron.ranges import NonNegativeInt, PositiveInt
from heron.seeds import derive_seed
from heron.split import ClientPart, ModelFamily, build_seeded, token_cross_entropy


@dataclass(frozen=True)
class CausalLm(ModelFamily):
    """A causal language model of `transformers`: GPT-2, OPT, Llama or Qwen2.

    Attributes:
        model: `causal_lm`.
        pretrained: a directory that `save_pretrained` wrote, one in `models/` next to the data, or a name on the hub.
        cut: blocks on the client.
        auxiliary_blocks: blocks of the auxiliary network, copies of the server's first.
        lora_rank: rank of LoRA in all parts, next to frozen weights; 0 trains all weights.
        lora_alpha: LoRA's scale is alpha / rank.
        lora_layers: `attention`, or `all` linear layers in the blocks.
        base: how frozen matrices are stored, `float32`, `bfloat16` or `int8` (linear layers in the blocks, the rest in
            bfloat16); they compute in float32.
    """

    reads_text: ClassVar[bool] = True
    predicts: ClassVar[Literal["classes", "tokens"]] = "tokens"

    model: Literal["causal_lm"] = "causal_lm"
    pretrained: str = "gpt2"
    cut: PositiveInt = 3
    auxiliary_blocks: NonNegativeInt = 1
    lora_rank: NonNegativeInt = 8
    lora_alpha: PositiveInt = 16
    lora_layers: LoraLayers = "attention"
    base: Base = "float32"

    def network(self, *, random_weights: bool = False) -> CausalLmSplit:
        """Make the cut network. Arguments as of `ModelFamily.network`."""
        return causal_lm(
            self.pretrained,
            num_client_blocks=self.cut,
            num_auxiliary_blocks=self.auxiliary_blocks,
            adaptation=self._adaptation,
            random_weights=random_weights,
        )

    def build_client(self, seed: int, *, with_auxiliary: bool = True) -> ClientPart:
        """Build what a client holds; the server's blocks are never loaded. Arguments as of `ModelFamily`'s."""
        return build_seeded(
            lambda: causal_lm_client(
                self.pretrained,
                num_client_blocks=self.cut,
                num_auxiliary_blocks=self.auxiliary_blocks if with_auxiliary else None,
                adaptation=self._adaptation,
            ),
            derive_seed("init", seed),
        )

    @property
    def criterion(self) -> Callable[[Any, Tensor], Tensor]:
        """Mean cross-entropy over the tokens that count: (`TokenLogits`, labels) -> shape ()."""
        return token_cross_entropy

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
        model = causal_lm_config(self.pretrained)
        tokenizer = load_tokenizer(self.pretrained, model.vocab_size)
        return Tokenizer(
            encode=partial(tokenizer.encode, add_special_tokens=False),
            end_token=tokenizer.eos_token_id,
            max_length=model.max_position_embeddings,
            source=self.pretrained,
        )

    @property
    def _adaptation(self) -> Adaptation:
        return Adaptation(self.lora_rank, self.lora_alpha, self.lora_layers, self.base)
