"""Loads the data of a configuration and chooses its device."""

import torch

from heron.config.schema import RunConfig
from heron.data import DataSet, Splits
from heron.errors import ConfigError
from heron.split import ModelFamily
from heron.wire.groups import Settings


def load_splits(config: RunConfig) -> Splits:
    """The data of a run; the validation split may depend on the seed, the test split does not.

    Raises:
        HeronError: if the data are not available, or are no such data as the network reads.
    """
    data, network = config.data, config.split
    _check_reader(data, network)
    splits = data.load(config.seed, network.load_tokenizer() if data.needs_tokenizer else None)
    outputs = getattr(network, "num_classes", splits.num_classes)
    if data.needs_tokenizer and network.predicts == "classes" and outputs != splits.num_classes:
        raise ConfigError(
            f"expected split.num_classes={splits.num_classes}, the number of labels of the data {data.name}, found "
            f"{outputs}; set it"
        )
    return splits


def _check_reader(data: DataSet, network: ModelFamily) -> None:
    """Refuse data of another kind than the network reads."""
    if data.needs_tokenizer:
        wanted = "tokens" if data.example.labels else "classes"
        fits = network.reads_text and network.predicts == wanted
        kind = "a causal language model" if wanted == "tokens" else "a classifier of texts"
    else:  # a data set of tokens needs no tokenizer
        fits = not network.reads_text or data.example.dtype.startswith("int")
        kind = "a network of numbers"
    if not fits:
        raise ConfigError(
            f"expected {kind} for the data {data.name}, found {network.model}; take a recipe whose data it reads, or "
            f"set data.name"
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
