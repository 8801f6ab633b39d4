"""The recipes that classify images.

Published rates of digits were chosen for every algorithm on the validation split from one grid
(`benchmarks/tune_digits.py`, `benchmarks/results/tune_digits.json`), those of `local` by `benchmarks/layer_local.py`.
"""

from collections.abc import Mapping
from dataclasses import replace

from heron.config.recipe_parts import Choice
from heron.config.schema import RunConfig
from heron.data import Cifar10, Digits
from heron.split import DigitsCnn, ResNet18
from heron.wire.groups import Client, Probes, Server

# What differs by algorithm: client rate, server rate, and what else is not as published.
_DIGITS_PUBLISHED = {
    "heron": Choice(Client(learning_rate=1e-2), 3e-3),
    "cse_fsl": Choice(Client(learning_rate=1e-2), 1e-2),
    "fsl_sage": Choice(Client(learning_rate=1e-2), 1e-2),
    "sflv1": Choice(Client(learning_rate=3e-2), 3e-3),
    "sflv2": Choice(Client(learning_rate=3e-2), 3e-3),
    "fedavg": Choice(Client(learning_rate=1e-2), 1e-2),
    "frozen": Choice(Client(learning_rate=1e-2), 1e-2),
    "ho_sfl": Choice(Client(learning_rate=1e-3), 1e-2),
    "hosl": Choice(Client(learning_rate=1e-2), 1e-2),
    "mu_splitfed": Choice(Client(learning_rate=5e-3), 1e-2),
    "ho_fl": Choice(Client(learning_rate=1e-2), 1e-2),
    "decomfl": Choice(Client(learning_rate=1e-2), 1e-2, probes=10),
    "fedkseed": Choice(Client(learning_rate=1e-2), 1e-2, probes=10),
}
_DIGITS = _DIGITS_PUBLISHED | {
    "heron": Choice(
        Client(learning_rate=1e-1, exact=2, exact_learning_rate=1e-2, schedule="cosine", keep_state=False),
        1e-2,
        probes=2,
    ),
    "local": Choice(Client(learning_rate=1e-2, schedule="cosine", keep_state=False, local_pool=2), 1e-2),
    "cse_fsl": Choice(Client(learning_rate=3e-2, schedule="cosine", keep_state=False), 3e-3),
    "ho_fl": Choice(Client(learning_rate=1e-1, exact=2, exact_learning_rate=1e-2, schedule="cosine"), 1e-2, probes=2),
}
_DIGITS_OTHERS = Choice(Client(learning_rate=1e-2), 3e-3)

_CIFAR10 = Choice(Client(learning_rate=1e-4), 1e-4)
_CIFAR10_SMALL = {
    "heron": Choice(
        Client(learning_rate=3e-3, exact=2, exact_learning_rate=1e-2, schedule="cosine", keep_state=False), 3e-3
    ),
    "cse_fsl": Choice(Client(learning_rate=3e-3, schedule="cosine", keep_state=False), 3e-3),
    "frozen": Choice(Client(learning_rate=1e-3), 3e-3),
}
_CIFAR10_SMALL_OTHERS = Choice(Client(learning_rate=1e-3), 1e-3)


def digits(algorithm: str) -> RunConfig:
    """Small images of digits, seconds a run.

    Args:
        algorithm: key of the registry.
    """
    return _digits(algorithm, "digits", _DIGITS)


def digits_published(algorithm: str) -> RunConfig:
    """The same with HERON-SFL as published.

    Args:
        algorithm: key of the registry.
    """
    return _digits(algorithm, "digits-published", _DIGITS_PUBLISHED)


def _digits(algorithm: str, name: str, choices: Mapping[str, Choice]) -> RunConfig:
    choice = choices.get(algorithm, _DIGITS_OTHERS)
    return RunConfig(
        recipe=name,
        algorithm=algorithm,
        rounds=80,
        threads=1,
        data=Digits(),
        client=choice.client_of(algorithm),
        # A pool of candidates that costs fewer bytes than the network.
        estimator=Probes(probes=choice.probes, candidates=1024),
        server=Server(learning_rate=choice.server_rate),
        split=DigitsCnn(),
    )


def cifar10_resnet18(algorithm: str) -> RunConfig:
    """The paper's vision task at its real size.

    Args:
        algorithm: key of the registry.
    """
    return RunConfig(
        recipe="cifar10-resnet18",
        algorithm=algorithm,
        rounds=100,
        data=Cifar10(),
        client=_CIFAR10.client_of(algorithm, batch_size=256),
        server=Server(learning_rate=_CIFAR10.server_rate),
        split=ResNet18(),
    )


def cifar10_resnet18_small(algorithm: str) -> RunConfig:
    """The same with a narrow network and fewer images, minutes a run.

    Args:
        algorithm: key of the registry.
    """
    choice = _CIFAR10_SMALL.get(algorithm, _CIFAR10_SMALL_OTHERS)
    return replace(
        cifar10_resnet18(algorithm),
        recipe="cifar10-resnet18-small",
        rounds=20,
        threads=1,
        data=Cifar10(train_limit=5_000, test_limit=2_000),
        client=choice.client_of(algorithm, batch_size=64),
        server=Server(learning_rate=choice.server_rate),
        split=ResNet18(width=16, bottleneck_channels=4, bottleneck_stride=4),
    )
