"""Tiny language models that are exported in tests."""

from typing import Any

import numpy as np
import torch

from heron.algorithms import ALGORITHMS
from heron.client.onnx_runtime import Bundle
from heron.data import IGNORED, Batch
from heron.engines.agreement import agree
from heron.export import make_bundle
from heron.lm import Adaptation, causal_lm
from heron.lm.cutting import CausalLmSplit
from heron.split import token_cross_entropy
from heron.wire.groups import Settings
from heron.wire.terms import Terms
from tests.lm.models import NUM_TOKENS
from tests.settings import changed


def model(source: str, **adaptation: Any) -> CausalLmSplit:
    """A cut model with one block on the client and one in the auxiliary network; LoRA's products are not zero."""
    torch.manual_seed(0)
    split = causal_lm(source, num_client_blocks=1, num_auxiliary_blocks=1, adaptation=Adaptation(**adaptation))
    with torch.no_grad():
        for parameter in split.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return split


def texts(size: int = 6, length: int = 9, *, seed: int = 0, num_tokens: int = NUM_TOKENS) -> Batch:
    """Sequences whose prompts do not count, and whose ends are padded."""
    draw = np.random.default_rng(seed)
    inputs = draw.integers(num_tokens, size=(size, length))
    labels = np.roll(inputs, -1, 1)
    for row in range(size):
        prompt, end = 1 + row % (length // 2), length - row % (length // 2)
        labels[row, :prompt] = labels[row, end:] = IGNORED
        inputs[row, end:] = 0
    return Batch(torch.from_numpy(inputs), torch.from_numpy(labels))


def terms_of(split: CausalLmSplit, algorithm: str = "heron", example: Batch | None = None, **changes: Any) -> Terms:
    settings = changed(Settings(threads=1), **changes)
    return agree(split, ALGORITHMS[algorithm], settings, token_cross_entropy, example or texts())


def exported(split: CausalLmSplit, algorithm: str = "heron", example: Batch | None = None, **changes: Any) -> Bundle:
    """A bundle that has passed the comparison with PyTorch."""
    example = example or texts()
    terms = terms_of(split, algorithm, example, **changes)
    return make_bundle(split, terms, example, criterion=token_cross_entropy)[0]
