"""The sides of a run whose clients are elsewhere: the part of it that each process builds."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch

from heron.algorithms import ALGORITHMS
from heron.client.torch_runtime.examples import DatasetExamples
from heron.config.build import client_shares
from heron.config.changes import settings_with
from heron.config.families import MODELS
from heron.config.parts import use_threads_and_device
from heron.config.problems import check_choice
from heron.config.schema import RunConfig
from heron.data import DATA_SETS, Splits, fetch, num_examples
from heron.engines.agreement import agree
from heron.engines.clients import Clients
from heron.engines.exposure import exposure
from heron.engines.label_classes import check_shown_labels
from heron.engines.mask_refusals import check_mask_members
from heron.engines.node_settings import own_settings
from heron.engines.pairs import check_pairs
from heron.engines.privacy import private_account
from heron.engines.servers import Servers
from heron.engines.task import check_task
from heron.errors import ConfigError, MessageError
from heron.privacy.vault import Vault
from heron.split import ClientPart, SplitModel, check_client
from heron.tensors import as_tensor
from heron.wire.plain import from_plain, to_plain
from heron.wire.terms import Terms

Owner = TypeVar("Owner")


def build_servers(config: RunConfig, splits: Splits) -> Servers:
    """Build the servers' side of a run whose clients are elsewhere.

    Args:
        config: the run.
        splits: its data, to see what examples look like.
    """
    use_threads_and_device(config)
    algorithm, split = ALGORITHMS[config.algorithm], config.split.build(config.seed).to(config.device)
    criterion = config.split.criterion
    check_task(split, algorithm, criterion, splits, config)
    example = fetch(splits.train, np.arange(min(2, num_examples(splits.train))), torch.device(config.device))
    split = algorithm.equipped(split, config, as_tensor(example.inputs))
    shares = client_shares(config, splits)
    sizes = [len(share) for share in shares]
    account = private_account(algorithm, settings_with(config, {}), sizes, has_data=False)
    terms = agree(
        split,
        algorithm,
        settings_with(config, {}) if account is None else account.settings,
        criterion,
        example,
        num_classes=splits.num_classes,
        data=to_plain(config.data),
        network=to_plain(config.split),
    )
    check_shown_labels(terms, splits.train, shares)
    servers = Servers(terms, algorithm, split, criterion)
    servers.account = account
    servers.exposure = exposure(algorithm, config, sizes)
    check_pairs(terms, split, sizes, servers.all_participants())
    check_mask_members(servers.learning.settings, servers.all_participants())
    return servers


def build_clients(terms: Terms, node_config: Mapping[str, Any], vault: Vault | None = None) -> Clients:
    """Build the clients' side of a run whose servers are elsewhere, and keep nothing of the servers'.

    A language model is not built beyond the client's blocks; a small vision network is built whole and cut.

    Args:
        terms: of the run, as they were received.
        node_config: this node's own configuration; `heron.engines.node_settings.NODE_KEYS` are read from it.
        vault: keeps the secret of this node; None where the run needs none.

    Raises:
        HeronError: if the terms, the data or the device are not usable here.
    """
    check_choice("algorithm", terms.algorithm, ALGORITHMS)
    algorithm = ALGORITHMS[terms.algorithm]
    terms = replace(terms, settings=own_settings(terms.settings, node_config))
    settings = terms.settings
    if settings.client.runtime == "onnx":
        raise ConfigError(
            "client.runtime=onnx: expected a bundle in the node's configuration, found none; start the SuperNode with "
            "bundle='DIR' data='FILE.npz' in --node-config, or leave client.runtime to each node"
        )
    use_threads_and_device(settings)
    device = torch.device(settings.device)
    data, family = _owner(DATA_SETS, "data", "name", terms.data), _owner(MODELS, "network", "model", terms.network)
    splits = data.load(settings.seed, family.load_tokenizer() if data.needs_tokenizer else None)
    if algorithm.head == "server":
        part: SplitModel | ClientPart = family.build(settings.seed).to(device)
    else:
        part = own = family.build_client(settings.seed, with_auxiliary=algorithm.head == "auxiliary").to(device)
        inputs = fetch(splits.train, np.arange(min(2, num_examples(splits.train))), device).inputs
        micro_batch = settings.client.micro_batch or None
        check_client(own, as_tensor(inputs), micro_batch=micro_batch, needs_auxiliary=algorithm.head == "auxiliary")
        part = algorithm.equipped(own, settings, as_tensor(inputs))
    # A pre-trained model comes as it is evaluated, without Dropout.
    runtime = algorithm.torch_runtime(part.train(), family.criterion, settings)
    shares = client_shares(settings, splits)
    check_shown_labels(terms, splits.train, shares)
    apart = settings.privacy.is_on
    examples = {number: DatasetExamples(splits.train, own, device, apart=apart) for number, own in enumerate(shares)}
    return Clients(terms, algorithm, runtime, examples, vault)


def _owner(table: Mapping[str, type[Owner]], section: str, key: str, values: Mapping[str, Any]) -> Owner:
    """The data set or network that a section of the terms names, with its settings."""
    name = values.get(key)
    if not isinstance(name, str) or name not in table:
        raise MessageError(
            f"terms.{section}: expected one of {', '.join(table)}, found {str(name)[:80]!r}; both sides need the same "
            f"version of heron"
        )
    return from_plain(table[name], dict(values), f"terms.{section}")
