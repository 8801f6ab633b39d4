"""Loads the data of a configuration and chooses its device."""

import torch

from heron.config.schema import RunConfig
from heron.data import Splits
from heron.errors import ConfigError
from heron.wire.groups import Settings


def load_splits(config: RunConfig) -> Splits:
    """The data of a run; the validation split may depend on the seed, the test split does not.

    Raises:
        HeronError: if the data are not available, or are texts and the network is no language model.
    """
    data, network = config.data, config.split
    if data.needs_tokenizer and not network.reads_text:
        raise ConfigError(
            f"expected a causal language model for the data {data.name}, found {network.model}; take a recipe whose "
            f"data it reads"
        )
    return data.load(config.seed, network.load_tokenizer() if data.needs_tokenizer else None)


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
