"""From a configuration to the parts of a run: data, network, loss, settings, and the device they are for."""

from functools import partial

import torch
from torch.nn.functional import cross_entropy

from heron.client.local import Criterion
from heron.config.schema import CausalLmConfig, DigitsCnnConfig, DigitsConfig, E2EConfig, RunConfig
from heron.data import Splits, load_cifar10, load_digits, load_e2e
from heron.errors import ConfigError
from heron.lm import Adaptation, causal_lm, causal_lm_config, load_tokenizer
from heron.seeds import derive_seed
from heron.split import SplitModel, build_seeded, digits_cnn, resnet18, token_cross_entropy
from heron.wire.groups import Settings


def load_splits(config: RunConfig) -> Splits:
    """The data of a run; the validation split depends on the seed, the test split does not."""
    data = config.data
    if isinstance(data, DigitsConfig):
        return load_digits(validation=data.validation, seed=config.seed)
    if isinstance(data, E2EConfig):
        return _load_e2e(data, config)
    return load_cifar10(
        validation=data.validation,
        seed=config.seed,
        train_limit=data.train_limit or None,
        test_limit=data.test_limit or None,
    )


def _load_e2e(data: E2EConfig, config: RunConfig) -> Splits:
    if not isinstance(config.split, CausalLmConfig):
        raise ConfigError(
            f"expected a causal language model for the data e2e, found {config.split.model}; take a recipe whose data "
            f"it reads"
        )
    model = causal_lm_config(config.split.pretrained)
    tokenizer = load_tokenizer(config.split.pretrained, model.vocab_size)
    if data.max_length > model.max_position_embeddings:
        raise ConfigError(
            f"expected data.max_length of at most {model.max_position_embeddings}, the positions of "
            f"{config.split.pretrained}, found {data.max_length}; lower it"
        )
    return load_e2e(
        tokenize=partial(tokenizer.encode, add_special_tokens=False),
        end_token=tokenizer.eos_token_id,
        max_length=data.max_length,
        train_limit=data.train_limit or None,
        validation_limit=data.validation_limit or None,
        test_limit=data.test_limit or None,
        seed=config.seed,
    )


def criterion(config: RunConfig) -> Criterion:
    """Mean loss over a batch, of scores of shape (B, C) or of `TokenLogits`."""
    if isinstance(config.split, CausalLmConfig):
        return token_cross_entropy
    return cross_entropy


def build_split(config: RunConfig, *, random_weights: bool = False) -> SplitModel:
    """The cut network of a run.

    Args:
        config: the run.
        random_weights: whether weights that would have to be loaded may be random, because only costs are asked for.

    Raises:
        HeronError: if the network cannot be had or cannot be cut like this.
    """
    split = config.split
    seed = derive_seed("init", config.seed)
    if isinstance(split, CausalLmConfig):
        return build_seeded(
            lambda: causal_lm(
                split.pretrained,
                num_client_blocks=split.cut,
                num_auxiliary_blocks=split.auxiliary_blocks,
                adaptation=Adaptation(split.lora_rank, split.lora_alpha, split.lora_layers, split.base),
                random_weights=random_weights,
            ),
            seed,
        )
    if isinstance(split, DigitsCnnConfig):
        return build_seeded(lambda: digits_cnn(cut_layer=split.cut), seed)
    return build_seeded(
        lambda: resnet18(
            width=split.width,
            norm=split.norm,
            cut_layer=split.cut,
            bottleneck_channels=split.bottleneck_channels,
            bottleneck_stride=split.bottleneck_stride,
        ),
        seed,
    )


def use_threads_and_device(settings: Settings) -> None:
    """Set the process's torch threads; refuse a device that is not there.

    Raises:
        ConfigError: if the device is unknown or absent.
    """
    torch.set_num_threads(settings.threads)
    try:
        torch.zeros(1, device=settings.device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {settings.device!r} cannot be used ({reason}); try device=cpu") from error
    if torch.device(settings.device).type == "cuda":
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
