"""Prove that cutting changed nothing."""

import torch
from torch import Tensor, nn

from heron.errors import SplitError
from heron.split.model import SplitModel
from heron.zo import preserved_buffers


@torch.no_grad()
def check_equivalence(model: nn.Module, split: SplitModel, example: Tensor, *, tolerance: float = 0.0) -> None:
    """Compare the uncut network with the cut and joined one, in evaluation mode.

    Args:
        model: the uncut network.
        split: its parts.
        example: a batch of inputs, shape (B, ...).
        tolerance: largest absolute difference allowed; the default asks for the same bits.

    Raises:
        SplitError: if an output differs by more, or in shape.
    """
    outputs = [_evaluate(network, example) for network in (model, split)]
    if outputs[0].shape != outputs[1].shape:
        raise SplitError(f"uncut output {tuple(outputs[0].shape)}, cut and joined {tuple(outputs[1].shape)}")
    difference = float((outputs[0] - outputs[1]).abs().max()) if outputs[0].numel() else 0.0
    if not difference <= tolerance:
        raise SplitError(f"cut and joined, the network differs by {difference:.3g}; allowed are {tolerance:.3g}")


def _evaluate(network: nn.Module, example: Tensor) -> Tensor:
    modes = {module: module.training for module in network.modules()}
    try:
        with preserved_buffers(network):
            outputs: Tensor = network.eval()(example)
            return outputs
    finally:
        for module, mode in modes.items():
            module.training = mode
