"""From a configuration to the parts of a run: data, network, loss, settings, and the device they are for."""

from dataclasses import asdict

import torch

from heron.client.local import Criterion
from heron.config.schema import RunConfig
from heron.data import DATA_SETS, Splits
from heron.errors import ConfigError
from heron.lm import CausalLm
from heron.split import DigitsCnn, ModelFamily, ResNet18, SplitModel
from heron.wire.groups import Settings


def load_splits(config: RunConfig) -> Splits:
    """The data of a run; the validation split depends on the seed, the test split does not."""
    if config.data.name == "e2e" and config.split.model != "causal_lm":
        raise ConfigError(
            f"expected a causal language model for the data e2e, found {config.split.model}; take a recipe whose data "
            f"it reads"
        )
    data = DATA_SETS[config.data.name](**asdict(config.data))
    return data.load(config.seed, _family(config).load_tokenizer() if data.needs_tokenizer else None)


def _family(config: RunConfig) -> ModelFamily:
    families: dict[str, type[ModelFamily]] = {"digits_cnn": DigitsCnn, "resnet18": ResNet18, "causal_lm": CausalLm}
    return families[config.split.model](**asdict(config.split))


def criterion(config: RunConfig) -> Criterion:
    """Mean loss over a batch, of scores of shape (B, C) or of `TokenLogits`."""
    return _family(config).criterion


def build_split(config: RunConfig, *, random_weights: bool = False) -> SplitModel:
    """The cut network of a run.

    Args:
        config: the run.
        random_weights: whether weights that would have to be loaded may be random, because only costs are asked for.

    Raises:
        HeronError: if the network cannot be had or cannot be cut like this.
    """
    return _family(config).build(config.seed, random_weights=random_weights)


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
