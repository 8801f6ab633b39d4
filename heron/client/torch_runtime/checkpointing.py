"""Activation checkpointing: a first-order client that keeps few activations and computes the rest again.

"Training Deep Nets with Sublinear Memory Cost", Chen, Xu, Zhang, Guestrin, arXiv 1604.06174: a chain of n layers cut
into about sqrt(n) segments keeps the inputs of the segments only, for one more forward pass.
"""

import math
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from heron.split import is_stochastic
from heron.zo import preserved_buffers


def checkpointed(module: nn.Module, inputs: Tensor) -> Tensor:
    """A forward pass whose backward pass recomputes the activations; same gradients, bit for bit.

    Dropout masks are drawn again as they were; running statistics of BatchNorm follow the first pass only.

    Args:
        module: an `nn.Sequential` is cut into about sqrt(n) segments, anything else is one.
        inputs: shape (B, ...).
    """
    for segment in _segments(module):
        contexts = partial(_contexts, segment)
        # A recomputation that restored the process's generator needlessly would disturb other threads.
        keeps = is_stochastic(segment)
        outputs: Tensor = checkpoint(
            segment, inputs, use_reentrant=False, context_fn=contexts, preserve_rng_state=keeps
        )
        inputs = outputs
    return inputs


def _segments(module: nn.Module) -> list[nn.Module]:
    if not isinstance(module, nn.Sequential) or len(module) < 2:
        return [module]
    layers = list(module)
    length = math.ceil(len(layers) / round(math.sqrt(len(layers))))
    segments: list[list[nn.Module]] = [[]]
    for layer in layers:
        # A layer that writes over its input must not open a segment: that input is what is kept.
        if len(segments[-1]) >= length and not getattr(layer, "inplace", False):
            segments.append([])
        segments[-1].append(layer)
    return [nn.Sequential(*segment) for segment in segments]


def _contexts(segment: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Make the contexts of the first pass and of the recomputation."""
    return nullcontext(), preserved_buffers(segment)
