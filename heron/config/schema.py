"""The configuration of a run: typed, complete, strict. Values come from a recipe; nothing here has a default."""

from typing import Annotated, Literal

from pydantic import Field

from heron.config.section import (
    NonNegativeFloat,
    NonNegativeInt,
    NumBytes,
    PositiveFloat,
    PositiveInt,
    Probability,
    Section,
)
from heron.config.servers import FedServerConfig, ServerConfig
from heron.config.traffic import LinkConfig, SmashedConfig
from heron.lm import Base, LoraLayers
from heron.server.fed_server import Weighting
from heron.wire import Codec
from heron.wire.learning import Update
from heron.zo import Distribution, KernelName, Scheme


class DigitsConfig(Section):
    """scikit-learn's 8x8 digits.

    Attributes:
        name: `digits`.
        validation: share of the training examples kept for validation, in [0, 1).
    """

    name: Literal["digits"]
    validation: Annotated[float, Field(ge=0, lt=1)]


class Cifar10Config(Section):
    """CIFAR-10, from local parquet files or the hub.

    Attributes:
        name: `cifar10`.
        validation: share of the training examples kept for validation, in [0, 1).
        train_limit: training examples used, a random sample; 0 for all.
        test_limit: test examples used; 0 for all.
    """

    name: Literal["cifar10"]
    validation: Annotated[float, Field(ge=0, lt=1)]
    train_limit: NonNegativeInt
    test_limit: NonNegativeInt


class E2EConfig(Section):
    """E2E NLG: restaurant descriptions from meaning representations, from local CSV files.

    Attributes:
        name: `e2e`.
        max_length: longest sequence in tokens, prompt and reference together.
        train_limit: training examples used, a random sample; 0 for all.
        validation_limit: examples of the development set used; 0 for all.
        test_limit: examples of the test set used; 0 for all.
    """

    name: Literal["e2e"]
    max_length: Annotated[int, Field(ge=2, lt=2**20)]
    train_limit: NonNegativeInt
    validation_limit: NonNegativeInt
    test_limit: NonNegativeInt


class ClientsConfig(Section):
    """The population of clients.

    Attributes:
        total: number of clients, N.
        per_round: participants of a round; 0 for all.
        partition: `iid`, `dirichlet` (label skew) or `natural` (as the data are grouped, e.g. by restaurant).
        alpha: concentration of the Dirichlet partition, > 0; small is skewed.
        weighting: how clients count in the round's mean: `equal`, or by their number of `examples`.
        dropout: probability that a participant vanishes during its round, in [0, 1).
        stragglers: probability that the deadline cuts a participant's round short, in [0, 1).
    """

    total: PositiveInt
    per_round: NonNegativeInt
    partition: Literal["iid", "dirichlet", "natural"]
    alpha: PositiveFloat
    weighting: Weighting
    dropout: Probability
    stragglers: Probability


class ClientConfig(Section):
    """What each client does.

    Attributes:
        batch_size: examples per local step, B.
        micro_batch: examples per forward pass; 0 for the whole batch.
        checkpointing: activation checkpointing of first-order clients; the others cache nothing.
        local_steps: local steps per round, h; 0 for one pass over the client's data.
        upload_period: local steps per upload of smashed data, k; coupled algorithms upload every step.
        exact: how many of the client's modules, counted from the auxiliary network down, heron's clients train exactly;
            0 is HERON-SFL as published, `all` CSE-FSL's client. Other algorithms ignore it.
        memory_budget: bytes, or a text such as `64MiB`: `exact` becomes the largest whose step fits, and this 0, before
            anything is saved; 0 for none. With `--set` it replaces the recipe's `exact`. Other algorithms ignore it.
        optimizer: update rule; ho_sfl has `sgd` only.
        learning_rate: eta_l.
        exact_learning_rate: eta_l of heron's exactly trained modules; 0 for the same.
        schedule: `constant`, or `cosine`: step sizes fall to nothing over the rounds of the run as half a cosine.
        keep_state: whether the optimiser state survives from round to round.
        kernel: what passes over zeroth-order parameters: `auto`, `torch`, `numba` (CPU) or `triton` (CUDA). All give
            the same bits, so a run may be resumed with another one.
    """

    batch_size: PositiveInt
    micro_batch: NonNegativeInt
    checkpointing: bool
    local_steps: NonNegativeInt
    upload_period: PositiveInt
    exact: NonNegativeInt | Literal["all"]
    memory_budget: NumBytes
    optimizer: Literal["sgd", "momentum", "adam"]
    learning_rate: PositiveFloat
    exact_learning_rate: NonNegativeFloat
    schedule: Literal["constant", "cosine"]
    keep_state: bool
    kernel: KernelName


class EstimatorConfig(Section):
    """How zeroth-order clients probe.

    Attributes:
        mu: smoothing radius per coordinate; `jvp` ignores it.
        probes: directions per step, q; 0 leaves everything below the order boundary as it is (needs client.exact).
        distribution: `rademacher` or `gaussian`.
        scheme: `one_sided`, `central`, or `jvp`: exact directional derivatives, the noise-free upper bound.
    """

    mu: PositiveFloat
    probes: NonNegativeInt
    distribution: Distribution
    scheme: Scheme


class DigitsCnnConfig(Section):
    """Small CNN for 8x8 digits with a narrow cut.

    Attributes:
        model: `digits_cnn`.
        cut: layer after which the network is cut.
    """

    model: Literal["digits_cnn"]
    cut: str


class ResNet18Config(Section):
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


class CausalLmConfig(Section):
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


class RunConfig(Section):
    """Everything a run depends on.

    Attributes:
        recipe: name of the recipe it came from.
        algorithm: key of the registry.
        seed: seed of everything random, from 0.
        rounds: number of rounds, T.
        device: torch device, e.g. `cpu` or `cuda:0`.
        threads: CPU threads of torch; results are bit-identical for one value of it.
        wire: encode and decode every message as a network would.
        evaluation_period: rounds from one evaluation to the next.
        update: how what clients learn by zeroth order travels: `dense`, as tensors, or `scalars`, as projected
            gradients that are replayed; ho_sfl always sends scalars.
        update_codec: how model tensors travel: `fp32` as they are; `fp16`, `int8`, `int4` or `dither6`: float16 down,
            and up how they changed, in so few bits. What goes as scalars is not touched.
        seed_groups: groups of clients that share their directions; 0 for directions of each client's own.
        digest_period: rounds from one check that clients hold the same parameters to the next, with `scalars`.
    """

    recipe: str
    algorithm: str
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    rounds: PositiveInt
    device: str
    threads: Annotated[int, Field(ge=1, le=1024)]
    wire: bool
    evaluation_period: PositiveInt
    update: Update
    update_codec: Codec
    seed_groups: NonNegativeInt
    digest_period: PositiveInt
    data: Annotated[DigitsConfig | Cifar10Config | E2EConfig, Field(discriminator="name")]
    clients: ClientsConfig
    client: ClientConfig
    smashed: SmashedConfig
    estimator: EstimatorConfig
    server: ServerConfig
    fed_server: FedServerConfig
    link: LinkConfig
    split: Annotated[DigitsCnnConfig | ResNet18Config | CausalLmConfig, Field(discriminator="model")]
