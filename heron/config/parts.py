"""From a configuration to the parts of a run: data, network, loss, settings, and the device they are for."""

import torch

from heron.client.attendance import Reliability
from heron.client.local import Criterion
from heron.config.schema import RunConfig
from heron.costs.settings import FederationSettings
from heron.data import DATA_SETS, Splits
from heron.errors import ConfigError
from heron.lm import CausalLm
from heron.server.setup import Alignment
from heron.split import DigitsCnn, ModelFamily, ResNet18, SplitModel
from heron.wire import SmashedCodec
from heron.wire.learning import ClientSettings
from heron.zo import Estimator


def load_splits(config: RunConfig) -> Splits:
    """The data of a run; the validation split depends on the seed, the test split does not."""
    if config.data.name == "e2e" and config.split.model != "causal_lm":
        raise ConfigError(
            f"expected a causal language model for the data e2e, found {config.split.model}; take a recipe whose data "
            f"it reads"
        )
    data = DATA_SETS[config.data.name](**config.data.model_dump())
    return data.load(config.seed, _family(config).load_tokenizer() if data.needs_tokenizer else None)


def _family(config: RunConfig) -> ModelFamily:
    families: dict[str, type[ModelFamily]] = {"digits_cnn": DigitsCnn, "resnet18": ResNet18, "causal_lm": CausalLm}
    return families[config.split.model](**config.split.model_dump())


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


def federation_settings(config: RunConfig) -> FederationSettings:
    """The engine's settings; zeros of the configuration file become None."""
    client, clients, estimator, server = config.client, config.clients, config.estimator, config.server
    return FederationSettings(
        seed=config.seed,
        clients_per_round=clients.per_round or None,
        batch_size=client.batch_size,
        micro_batch=client.micro_batch or None,
        checkpointing=client.checkpointing,
        local_steps=client.local_steps or None,
        upload_period=client.upload_period,
        update_codec=config.update_codec,
        codec=SmashedCodec(config.smashed.codec, config.smashed.zstd),
        client=ClientSettings(
            optimizer=client.optimizer,
            learning_rate=client.learning_rate,
            keep_state=client.keep_state,
            estimator=Estimator(estimator.mu, estimator.probes, estimator.distribution, estimator.scheme)
            if estimator.probes
            else None,
            exact=client.exact,
            exact_learning_rate=client.exact_learning_rate or None,
            decay_rounds=config.rounds if client.schedule == "cosine" else None,
            update=config.update,
            seed_groups=config.seed_groups,
            digest_period=config.digest_period,
            kernel=client.kernel,
        ),
        weighting=clients.weighting,
        reliability=Reliability(clients.dropout, clients.stragglers),
        fed_optimizer=config.fed_server.fed_adam(),
        aggregation=config.fed_server.robust_mean(),
        server_optimizer=server.optimizer,
        server_learning_rate=server.learning_rate,
        alignment=Alignment(server.alignment_period, server.alignment_steps, server.alignment_learning_rate),
        refresh_auxiliary=server.refresh_auxiliary,
        reuse=server.reuse,
        buffer_size=server.buffer_size,
        bundle=config.link.bundle,
        wire=config.wire,
        device=config.device,
    )


def use_threads_and_device(config: RunConfig) -> None:
    """Set the process's torch threads; refuse a device that is not there.

    Raises:
        ConfigError: if the device is unknown or absent.
    """
    torch.set_num_threads(config.threads)
    try:
        torch.zeros(1, device=config.device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {config.device!r} cannot be used ({reason}); try device=cpu") from error
    if torch.device(config.device).type == "cuda":
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
