"""The examples in the docstrings run."""

import doctest
import importlib
import pkgutil

import pytest
import torch

import heron.zo

MODULES = ["heron.zo", *(f"heron.zo.{module.name}" for module in pkgutil.iter_modules(heron.zo.__path__))]
WITH_EXAMPLES = {"heron.zo.flat", "heron.zo.optimizer", "heron.seeds", "heron.zo.stream", "heron.zo.uniform"}


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    if name == "heron.zo.triton_loops":
        pytest.importorskip("triton", reason="Triton comes with PyTorch for CUDA, or with the extra `dev`")
    # Networks in examples draw their weights from the process-wide generator.
    with torch.random.fork_rng():
        torch.manual_seed(0)
        results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0
    assert (results.attempted > 0) == (name in WITH_EXAMPLES)
