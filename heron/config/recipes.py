"""Complete configurations by name. A recipe is a function of the algorithm; variants derive in a few lines.

Recipes named after the paper, and `digits-published`, have HERON-SFL as published (`client.exact=0`). The others have
the client that learns more (docs/study.md): two modules exact, an optimiser that starts afresh every round, rates that
fall along a cosine. Published rates of digits were chosen for every algorithm on the validation split from one grid
(`benchmarks/tune_digits.py`, `benchmarks/results/tune_digits.json`).
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from heron.config.language_recipes import PAPER_GPT2_MEDIUM, e2e_gpt2, e2e_gpt2_mini
from heron.config.recipe_parts import Choice, PaperCost, Recipe
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
}
_DIGITS = _DIGITS_PUBLISHED | {
    "heron": Choice(
        Client(learning_rate=1e-1, exact=2, exact_learning_rate=1e-2, schedule="cosine", keep_state=False),
        1e-2,
        probes=2,
    ),
    "cse_fsl": Choice(Client(learning_rate=3e-2, schedule="cosine", keep_state=False), 3e-3),
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

# HERON-SFL (Kou et al., arXiv 2601.09076), ResNet-18 on CIFAR-10: MiB and GFLOP of one local step.
_PAPER_RESNET18 = {
    name: PaperCost(memory * 2**20, compute * 1e9)
    for name, memory, compute in (
        ("heron", 259.44, 39.90),
        ("cse_fsl", 726.46, 59.85),
        ("fsl_sage", 726.46, 59.85),
        ("sflv1", 709.93, 59.51),
        ("sflv2", 709.93, 59.51),
    )
}


def _digits(algorithm: str, *, name: str, choices: Mapping[str, Choice]) -> RunConfig:
    choice = choices.get(algorithm, _DIGITS_OTHERS)
    return RunConfig(
        recipe=name,
        algorithm=algorithm,
        rounds=80,
        threads=1,
        data=Digits(),
        client=choice.client_of(algorithm),
        estimator=Probes(probes=choice.probes),
        server=Server(learning_rate=choice.server_rate),
        split=DigitsCnn(),
    )


def _cifar10_resnet18(algorithm: str) -> RunConfig:
    return RunConfig(
        recipe="cifar10-resnet18",
        algorithm=algorithm,
        rounds=100,
        data=Cifar10(),
        client=_CIFAR10.client_of(algorithm, batch_size=256),
        server=Server(learning_rate=_CIFAR10.server_rate),
        split=ResNet18(),
    )


def _cifar10_resnet18_small(algorithm: str) -> RunConfig:
    choice = _CIFAR10_SMALL.get(algorithm, _CIFAR10_SMALL_OTHERS)
    return replace(
        _cifar10_resnet18(algorithm),
        recipe="cifar10-resnet18-small",
        rounds=20,
        threads=1,
        data=Cifar10(train_limit=5_000, test_limit=2_000),
        client=choice.client_of(algorithm, batch_size=64),
        server=Server(learning_rate=choice.server_rate),
        split=ResNet18(width=16, bottleneck_channels=4, bottleneck_stride=4),
    )


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "digits",
            "8x8 digits, small CNN, narrow cut of 16 floats, 5 clients: seconds on a laptop",
            partial(_digits, name="digits", choices=_DIGITS),
        ),
        Recipe(
            "digits-published",
            "the same with HERON-SFL as published: nothing exact, state kept, constant rates",
            partial(_digits, name="digits-published", choices=_DIGITS_PUBLISHED),
        ),
        Recipe(
            "cifar10-resnet18",
            "the paper's vision task at its real size: ResNet-18, batch 256",
            _cifar10_resnet18,
            _PAPER_RESNET18,
        ),
        Recipe(
            "cifar10-resnet18-small",
            "width 16, narrow cut of 256 floats, 5,000 training images, 20 rounds: minutes a run on one CPU core",
            _cifar10_resnet18_small,
        ),
        Recipe(
            "e2e-gpt2",
            "the paper's language task: GPT-2 on E2E NLG with LoRA, cut after block 3, 3 clients",
            partial(e2e_gpt2, pretrained="gpt2", cut=3, auxiliary_blocks=1),
        ),
        Recipe(
            "e2e-gpt2-medium",
            "the same at its larger size: GPT-2 Medium, cut after block 6, 3 auxiliary blocks",
            partial(e2e_gpt2, pretrained="gpt2-medium", cut=6, auxiliary_blocks=3),
            PAPER_GPT2_MEDIUM,
        ),
        Recipe(
            "e2e-gpt2-mini",
            "a GPT-2 of 12 M parameters from a local directory, 4,800 examples: minutes on two CPU cores",
            e2e_gpt2_mini,
        ),
    )
}
