"""The configuration of a run: its settings, and what they are for. Values come from a recipe or a saved file."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Lt
from pydantic import Field

from heron.lm import Base, LoraLayers
from heron.ranges import NonNegativeInt, PositiveInt, Probability
from heron.wire.groups import Settings


@dataclass(frozen=True)
class DigitsConfig:
    """scikit-learn's 8x8 digits.

    Attributes:
        name: `digits`.
        validation: share of the training examples kept for validation, in [0, 1).
    """

    name: Literal["digits"]
    validation: Probability


@dataclass(frozen=True)
class Cifar10Config:
    """CIFAR-10, from local parquet files or the hub.

    Attributes:
        name: `cifar10`.
        validation: share of the training examples kept for validation, in [0, 1).
        train_limit: training examples used, a random sample; 0 for all.
        test_limit: test examples used; 0 for all.
    """

    name: Literal["cifar10"]
    validation: Probability
    train_limit: NonNegativeInt
    test_limit: NonNegativeInt


@dataclass(frozen=True)
class E2EConfig:
    """E2E NLG: restaurant descriptions from meaning representations, from local CSV files.

    Attributes:
        name: `e2e`.
        max_length: longest sequence in tokens, prompt and reference together.
        train_limit: training examples used, a random sample; 0 for all.
        validation_limit: examples of the development set used; 0 for all.
        test_limit: examples of the test set used; 0 for all.
    """

    name: Literal["e2e"]
    max_length: Annotated[int, Ge(2), Lt(2**20)]
    train_limit: NonNegativeInt
    validation_limit: NonNegativeInt
    test_limit: NonNegativeInt


@dataclass(frozen=True)
class DigitsCnnConfig:
    """Small CNN for 8x8 digits with a narrow cut.

    Attributes:
        model: `digits_cnn`.
        cut: layer after which the network is cut.
    """

    model: Literal["digits_cnn"]
    cut: str


@dataclass(frozen=True)
class ResNet18Config:
    """CIFAR ResNet-18.

    Attributes:
        model: `resnet18`.
        cut: layer after which the network is cut; `norm2` is the paper's.
        width: channels of the first stage; 64 is the paper's.
        norm: `batch` or `group`.
        bottleneck_channels: channels of a 1x1 bottleneck at the cut; 0 for none.
        bottleneck_stride: side of the windows it averages first.
    """

    model: Literal["resnet18"]
    cut: str
    width: PositiveInt
    norm: Literal["batch", "group"]
    bottleneck_channels: NonNegativeInt
    bottleneck_stride: PositiveInt


@dataclass(frozen=True)
class CausalLmConfig:
    """A causal language model of `transformers`: GPT-2, OPT, Llama or Qwen2.

    Attributes:
        model: `causal_lm`.
        pretrained: a directory that `save_pretrained` wrote, one in `models/` beside the data, or a name on the hub.
        cut: blocks on the client.
        auxiliary_blocks: blocks of the auxiliary network, copies of the server's first.
        lora_rank: rank of LoRA in all parts, beside frozen weights; 0 trains all weights.
        lora_alpha: LoRA's scale is alpha / rank.
        lora_layers: `attention`, or `all` linear layers in the blocks.
        base: how frozen matrices are stored, `float32`, `bfloat16` or `int8` (linear layers in the blocks, the rest in
            bfloat16); they compute in float32.
    """

    model: Literal["causal_lm"]
    pretrained: str
    cut: PositiveInt
    auxiliary_blocks: NonNegativeInt
    lora_rank: NonNegativeInt
    lora_alpha: PositiveInt
    lora_layers: LoraLayers
    base: Base


@dataclass(frozen=True, kw_only=True)
class RunConfig(Settings):
    """Everything a run depends on: settings, the data and the network.

    Attributes:
        recipe: name of the recipe it came from.
        algorithm: key of the registry.
        data: the data set.
        split: the network and its cut.
    """

    recipe: str
    algorithm: str
    data: Annotated[DigitsConfig | Cifar10Config | E2EConfig, Field(discriminator="name")]
    split: Annotated[DigitsCnnConfig | ResNet18Config | CausalLmConfig, Field(discriminator="model")]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values with the order and the lists of a saved file."""
        values: dict[str, Any] = _plain(asdict(self))
        first = {key: values.pop(key) for key in ("recipe", "algorithm", "data")}
        return first | values


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, tuple) else value
