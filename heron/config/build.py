"""From a configuration to the objects it describes; only this file knows both."""

from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from heron.algorithms import ALGORITHMS, OTHER_NAMES, Alignment, ClientSettings, Criterion
from heron.comms import SmashedCodec
from heron.config.devices import link_model
from heron.config.overrides import assigned_keys, check_choice, fingerprint, override
from heron.config.recipe_parts import NO_LINK
from heron.config.recipes import RECIPES
from heron.config.schema import CausalLmConfig, DigitsCnnConfig, DigitsConfig, E2EConfig, RunConfig
from heron.data import Splits, labels_of, load_cifar10, load_digits, load_e2e, partition
from heron.engines.attendance import Reliability
from heron.engines.client_step import ExampleShape, StepCost
from heron.engines.federation import Federation
from heron.engines.plan import largest_exact, plan_step
from heron.engines.profile import ClientCost, profile_step
from heron.engines.run_directory import RunDirectory
from heron.engines.run_loop import Run
from heron.engines.settings import FederationSettings
from heron.engines.step_flops import StepFlops, step_flops
from heron.errors import ConfigError
from heron.lm import Adaptation, causal_lm, causal_lm_config, load_tokenizer
from heron.split import SplitModel, build_seeded, digits_cnn, resnet18, token_cross_entropy
from heron.zo import Estimator, derive_seed


def recipe_config(recipe: str, algorithm: str, assignments: list[str]) -> RunConfig:
    """The configuration of a recipe for an algorithm, with changes.

    Raises:
        ConfigError: if a name, key or value is not known or not in range.
    """
    check_choice("recipe", recipe, RECIPES)
    algorithm = OTHER_NAMES.get(algorithm, algorithm)
    check_choice("algorithm", algorithm, ALGORITHMS)
    if assigned_keys(assignments) & {"algorithm", "recipe"}:
        raise ConfigError("algorithm and recipe cannot be --set, rates depend on them; give them as arguments")
    return override(RECIPES[recipe].build(algorithm), assignments)


def build_run(config: RunConfig, directory: Path | None) -> Run:
    """Everything a run needs, ready for `restore` and `train`.

    Sets torch's number of threads for this process, because results are bit-identical for one value of it.

    Raises:
        HeronError: if the data, the partition, the cut or the device does not work out.
    """
    use_threads_and_device(config)
    config = resolve_budget(config)
    splits = load_splits(config)
    return Run(
        build_federation(config, splits),
        splits,
        rounds=config.rounds,
        directory=None if directory is None else RunDirectory(directory),
        fingerprint=fingerprint(config),
        evaluation_period=config.evaluation_period,
    )


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


def build_federation(config: RunConfig, splits: Splits) -> Federation:
    """All parties of a run in one process, with initial weights that depend on the seed alone."""
    config = resolve_budget(config)
    return Federation(
        build_split(config),
        ALGORITHMS[config.algorithm],
        splits.train,
        client_shares(config, splits),
        federation_settings(config),
        criterion(config),
        link_model(config, partial(_step_flops, config.model_copy(update={"seed": 0, "link": NO_LINK}))),
    )


def client_shares(config: RunConfig, splits: Splits) -> list[np.ndarray]:
    """Each client's positions in the training data."""
    return partition(
        config.clients.partition,
        labels_of(splits.train),
        num_clients=config.clients.total,
        alpha=config.clients.alpha,
        seed=config.seed,
        groups=splits.groups,
    )


def resolve_budget(config: RunConfig) -> RunConfig:
    """The same run with `client.exact` in place of the budget that chooses it; without a budget, the same object.

    What is saved with a run is the outcome, so that it is the same run on every machine
    (docs/decisions/0015-memory-budget.md).

    Raises:
        ConfigError: if nothing fits into the budget, or the device cannot be used.
    """
    if not config.client.memory_budget or not ALGORITHMS[config.algorithm].has_boundary:
        return config
    use_threads_and_device(config)
    # Shapes do not depend on the seed: every seed of a comparison has the same answer.
    exact = _exact_that_fits(config.model_copy(update={"seed": 0}))
    return config.model_copy(update={"client": config.client.model_copy(update={"exact": exact, "memory_budget": 0})})


@lru_cache(maxsize=64)
def _exact_that_fits(config: RunConfig) -> int:
    algorithm, settings = ALGORITHMS[config.algorithm], federation_settings(config)
    build = partial(build_split, config, random_weights=True)
    budget = config.client.memory_budget
    return largest_exact(build, algorithm, settings, example_shape(config), budget, criterion(config))


@lru_cache(maxsize=64)
def _step_flops(config: RunConfig) -> StepFlops:
    build = partial(build_split, config, random_weights=True)
    settings = federation_settings(config)
    return step_flops(build, ALGORITHMS[config.algorithm], settings, example_shape(config), criterion(config))


def plan_cost(config: RunConfig) -> StepCost:
    """What one client step of a run costs, found without data and without memory for the network."""
    algorithm, settings = ALGORITHMS[config.algorithm], federation_settings(config)
    build = partial(build_split, config, random_weights=True)
    return plan_step(build, algorithm, settings, example_shape(config), criterion(config))


def profile_cost(config: RunConfig) -> ClientCost:
    """What one client step of a run costs, measured on a batch of full size, without data and pre-trained weights."""
    use_threads_and_device(config)
    config = resolve_budget(config)
    split, settings = build_split(config, random_weights=True), federation_settings(config)
    return profile_step(split, ALGORITHMS[config.algorithm], settings, example_shape(config), criterion(config))


def example_shape(config: RunConfig) -> ExampleShape:
    """What a batch looks like, known without reading the data."""
    if isinstance(config.data, E2EConfig):
        length = (config.data.max_length,)
        return ExampleShape(length, length, torch.int64)
    return ExampleShape((1, 8, 8) if isinstance(config.data, DigitsConfig) else (3, 32, 32))


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
