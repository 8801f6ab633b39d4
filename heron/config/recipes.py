"""Complete configurations by name. A recipe is a function of the algorithm; variants derive in a few lines.

The table imports neither networks nor data: `heron recipes` answers at once, and a recipe's module is imported when it
is built.

Recipes named after the paper, and `digits-published`, have HERON-SFL as published (`client.exact=0`). The others have
the client that learns more (docs/study.md): two modules exact, an optimiser that starts afresh every round, rates that
fall along a cosine.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from heron.config.schema import RunConfig


@dataclass(frozen=True)
class PaperCost:
    """Cost of one client step as a paper reports it.

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
        home: function from an algorithm to the configuration, as module and name.
        paper_costs: costs of one client step by algorithm, where the recipe is a paper's setting.
    """

    name: str
    summary: str
    home: str
    paper_costs: Mapping[str, PaperCost] = field(default_factory=dict)

    def build(self, algorithm: str) -> "RunConfig":
        """Build the configuration for an algorithm.

        Args:
            algorithm: key of the registry.
        """
        module, _, name = self.home.partition(":")
        config: RunConfig = getattr(import_module(module), name)(algorithm)
        return config


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


# HERON-SFL (Kou et al., arXiv 2601.09076), GPT2-Medium on E2E NLG: GB (10^9 bytes) and TFLOP of one local step.
_PAPER_GPT2_MEDIUM = {
    name: PaperCost(memory * 1e9, compute * 1e12)
    for name, memory, compute in (
        ("heron", 4.03, 5.26),
        ("cse_fsl", 9.09, 9.48),
        ("fsl_sage", 9.09, 9.48),
        ("sflv2", 4.59, 5.68),
    )
}

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "digits",
            "8x8 digits, small CNN, narrow cut of 16 floats, 5 clients: seconds on a laptop",
            "heron.config.image_recipes:digits",
        ),
        Recipe(
            "digits-published",
            "the same with HERON-SFL as published: nothing exact, state kept, constant rates",
            "heron.config.image_recipes:digits_published",
        ),
        Recipe(
            "cifar10-resnet18",
            "the paper's vision task at its real size: ResNet-18, batch 256",
            "heron.config.image_recipes:cifar10_resnet18",
            _PAPER_RESNET18,
        ),
        Recipe(
            "cifar10-resnet18-small",
            "width 16, narrow cut of 256 floats, 5,000 training images, 20 rounds: minutes a run on one CPU core",
            "heron.config.image_recipes:cifar10_resnet18_small",
        ),
        Recipe(
            "e2e-gpt2",
            "the paper's language task: GPT-2 on E2E NLG with LoRA, cut after block 3, 3 clients",
            "heron.config.language_recipes:e2e_gpt2",
        ),
        Recipe(
            "e2e-gpt2-medium",
            "the same at its larger size: GPT-2 Medium, cut after block 6, 3 auxiliary blocks",
            "heron.config.language_recipes:e2e_gpt2_medium",
            _PAPER_GPT2_MEDIUM,
        ),
        Recipe(
            "e2e-gpt2-mini",
            "a GPT-2 of 12 M parameters from a local directory, 4,800 examples: minutes on two CPU cores",
            "heron.config.language_recipes:e2e_gpt2_mini",
        ),
        Recipe(
            "sst2-minilm",
            "sentiment of sentences: MiniLM of 6 blocks from a local directory, LoRA, cut after block 2, 3 clients",
            "heron.config.language_recipes:sst2_minilm",
        ),
        Recipe(
            "sst2-opt-125m",
            "the same with OPT-125M, cut after block 5 of 12",
            "heron.config.language_recipes:sst2_opt_125m",
        ),
    )
}
"""Recipes by name."""
