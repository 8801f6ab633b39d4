"""Complete configurations by name. A recipe is a function of the algorithm; variants derive in a few lines.

Learning rates of `digits` were chosen for every algorithm on the validation split from one grid
(`benchmarks/tune_digits.py`, `benchmarks/results/tune_digits.json`).
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from heron.algorithms import ALGORITHMS, OptimizerName
from heron.config.schema import (
    CausalLmConfig,
    Cifar10Config,
    ClientConfig,
    ClientsConfig,
    DigitsCnnConfig,
    DigitsConfig,
    E2EConfig,
    EstimatorConfig,
    FedServerConfig,
    ResNet18Config,
    RunConfig,
    ServerConfig,
)


@dataclass(frozen=True)
class PaperCost:
    """What a paper reports for one client step.

    Attributes:
        peak_memory_bytes: peak memory.
        flops_per_step: floating-point operations.
    """

    peak_memory_bytes: float
    flops_per_step: float


@dataclass(frozen=True)
class Recipe:
    """A named configuration.

    Attributes:
        name: what the command line calls it.
        summary: one line for a person.
        build: the configuration for an algorithm.
        paper_costs: costs of one client step by algorithm, where the recipe is a paper's setting.
    """

    name: str
    summary: str
    build: Callable[[str], RunConfig]
    paper_costs: Mapping[str, PaperCost] = field(default_factory=dict)


# (client.learning_rate, server.learning_rate) by algorithm; others take heron's.
_DIGITS_RATES = {
    "heron": (1e-2, 3e-3),
    "cse_fsl": (1e-2, 1e-2),
    "fsl_sage": (1e-2, 1e-2),
    "sflv1": (3e-2, 3e-3),
    "sflv2": (3e-2, 3e-3),
    "fedavg": (1e-2, 1e-2),
    "frozen": (1e-2, 1e-2),
}


_FIVE_CLIENTS = ClientsConfig(
    total=5, per_round=0, partition="iid", alpha=0.5, weighting="equal", dropout=0.0, stragglers=0.0
)


# Clients average; the rest are FedAdam's values in its paper's experiments, for who switches it on.
_AVERAGE = FedServerConfig(optimizer="average", learning_rate=1e-2, beta1=0.9, beta2=0.99, epsilon=1e-3)


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


# The same paper, GPT2-Medium on E2E NLG: GB (10^9 bytes) and TFLOP of one local step.
_PAPER_GPT2_MEDIUM = {
    name: PaperCost(memory * 1e9, compute * 1e12)
    for name, memory, compute in (
        ("heron", 4.03, 5.26),
        ("cse_fsl", 9.09, 9.48),
        ("fsl_sage", 9.09, 9.48),
        ("sflv2", 4.59, 5.68),
    )
}


def _digits(algorithm: str) -> RunConfig:
    client_rate, server_rate = _DIGITS_RATES.get(algorithm, _DIGITS_RATES["heron"])
    return RunConfig(
        recipe="digits",
        algorithm=algorithm,
        seed=0,
        rounds=80,
        device="cpu",
        threads=1,
        wire=False,
        evaluation_period=1,
        data=DigitsConfig(name="digits", validation=0.2),
        clients=_FIVE_CLIENTS,
        client=ClientConfig(
            batch_size=32,
            micro_batch=0,
            checkpointing=False,
            local_steps=0,
            upload_period=1,
            exact=0,
            memory_budget=0,
            optimizer=_optimizer(algorithm),
            learning_rate=client_rate,
            exact_learning_rate=0.0,
            schedule="constant",
            keep_state=True,
        ),
        estimator=EstimatorConfig(mu=1e-3, probes=1, distribution="rademacher", scheme="one_sided"),
        server=_server(server_rate),
        fed_server=_AVERAGE,
        split=DigitsCnnConfig(model="digits_cnn", cut="relu3"),
    )


def _cifar10_resnet18(algorithm: str) -> RunConfig:
    return RunConfig(
        recipe="cifar10-resnet18",
        algorithm=algorithm,
        seed=0,
        rounds=100,
        device="cpu",
        threads=_available_cores(),
        wire=False,
        evaluation_period=1,
        data=Cifar10Config(name="cifar10", validation=0.1, train_limit=0, test_limit=0),
        clients=_FIVE_CLIENTS,
        client=ClientConfig(
            batch_size=256,
            micro_batch=0,
            checkpointing=False,
            local_steps=0,
            upload_period=1,
            exact=0,
            memory_budget=0,
            optimizer=_optimizer(algorithm),
            learning_rate=1e-4,
            exact_learning_rate=0.0,
            schedule="constant",
            keep_state=True,
        ),
        estimator=EstimatorConfig(mu=1e-3, probes=1, distribution="rademacher", scheme="one_sided"),
        server=_server(1e-4),
        fed_server=_AVERAGE,
        split=ResNet18Config(
            model="resnet18", cut="norm2", width=64, norm="batch", bottleneck_channels=0, bottleneck_stride=1
        ),
    )


def _cifar10_resnet18_small(algorithm: str) -> RunConfig:
    full = _cifar10_resnet18(algorithm)
    return full.model_copy(
        update={
            "recipe": "cifar10-resnet18-small",
            "rounds": 10,
            "threads": 1,
            "data": full.data.model_copy(update={"train_limit": 5_000, "test_limit": 2_000}),
            "client": full.client.model_copy(update={"batch_size": 64, "learning_rate": 1e-3}),
            "server": full.server.model_copy(update={"learning_rate": 1e-3}),
            "split": full.split.model_copy(update={"width": 16}),
        }
    )


def _server(learning_rate: float) -> ServerConfig:
    return ServerConfig(
        optimizer="adam",
        learning_rate=learning_rate,
        refresh_auxiliary=False,
        alignment_period=1,
        alignment_steps=10,
        alignment_learning_rate=1e-2,
    )


def _optimizer(algorithm: str) -> OptimizerName:
    """Adam, where the algorithm leaves the choice."""
    known = ALGORITHMS[algorithm].optimizers
    return "adam" if "adam" in known else known[0]


def _available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _e2e_gpt2(algorithm: str, *, pretrained: str, cut: int, auxiliary_blocks: int) -> RunConfig:
    return RunConfig(
        recipe=f"e2e-{pretrained}",
        algorithm=algorithm,
        seed=0,
        rounds=10,
        device="cpu",
        threads=_available_cores(),
        wire=False,
        evaluation_period=1,
        data=E2EConfig(name="e2e", max_length=512, train_limit=0, validation_limit=500, test_limit=500),
        clients=_FIVE_CLIENTS.model_copy(update={"total": 3}),
        client=ClientConfig(
            batch_size=16,
            micro_batch=1,
            checkpointing=False,
            local_steps=0,
            upload_period=1,
            exact=0,
            memory_budget=0,
            optimizer=_optimizer(algorithm),
            learning_rate=2e-4,
            exact_learning_rate=0.0,
            schedule="constant",
            keep_state=True,
        ),
        estimator=EstimatorConfig(mu=1e-3, probes=1, distribution="gaussian", scheme="one_sided"),
        server=_server(2e-4),
        fed_server=_AVERAGE,
        split=CausalLmConfig(
            model="causal_lm",
            pretrained=pretrained,
            cut=cut,
            auxiliary_blocks=auxiliary_blocks,
            lora_rank=8,
            lora_alpha=16,
            lora_layers="attention",
            base="float32",
        ),
    )


# client.learning_rate by algorithm, chosen on the development set (docs/study.md); others take 2e-3.
_E2E_MINI_RATES = {"heron": 3e-4, "cse_fsl": 5e-4, "fsl_sage": 5e-4, "ho_sfl": 3e-4, "hosl": 3e-4}


def _e2e_gpt2_mini(algorithm: str) -> RunConfig:
    full = _e2e_gpt2(algorithm, pretrained="gpt2-mini", cut=2, auxiliary_blocks=1)
    rate = _E2E_MINI_RATES.get(algorithm, 2e-3)
    return full.model_copy(
        update={
            "rounds": 6,
            "data": full.data.model_copy(update={"max_length": 160, "train_limit": 4_800, "test_limit": 100}),
            "client": full.client.model_copy(update={"micro_batch": 0, "local_steps": 8, "learning_rate": rate}),
            "server": full.server.model_copy(update={"learning_rate": 2e-3}),
            "split": full.split.model_copy(update={"lora_layers": "all"}),
        }
    )


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("digits", "8x8 digits, small CNN, narrow cut of 16 floats, 5 clients: seconds on a laptop", _digits),
        Recipe(
            "cifar10-resnet18",
            "the paper's vision task at its real size: ResNet-18, batch 256",
            _cifar10_resnet18,
            _PAPER_RESNET18,
        ),
        Recipe(
            "cifar10-resnet18-small",
            "width 16, 5,000 training images, 10 rounds: some five minutes a run on one CPU core",
            _cifar10_resnet18_small,
        ),
        Recipe(
            "e2e-gpt2",
            "the paper's language task: GPT-2 on E2E NLG with LoRA, cut after block 3, 3 clients",
            partial(_e2e_gpt2, pretrained="gpt2", cut=3, auxiliary_blocks=1),
        ),
        Recipe(
            "e2e-gpt2-medium",
            "the same at its larger size: GPT-2 Medium, cut after block 6, 3 auxiliary blocks",
            partial(_e2e_gpt2, pretrained="gpt2-medium", cut=6, auxiliary_blocks=3),
            _PAPER_GPT2_MEDIUM,
        ),
        Recipe(
            "e2e-gpt2-mini",
            "a GPT-2 of 12 M parameters from a local directory, 4,800 examples: minutes on two CPU cores",
            _e2e_gpt2_mini,
        ),
    )
}
