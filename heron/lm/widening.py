"""Linear layers that are stored in 16 bits and compute in 32.

Probes measure differences that 16-bit activations would round away, so weights are widened as they are used, one layer
at a time, in the forward and in the backward pass: no 32-bit copy of the weights outlives its layer. The ways of the
libraries keep the copy in the graph (a parametrization) or compute in 16 bits (autocast).

`N` rows, `I` features in, `O` out.
"""

from typing import Any

import torch
from torch import Tensor, nn


class _WidenedProduct(torch.autograd.Function):
    """`inputs @ weight` for a frozen weight in another dtype."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight_IO: Tensor) -> Tensor:
        ctx.save_for_backward(weight_IO)
        ctx.save_for_forward(weight_IO)
        return inputs @ weight_IO.to(inputs.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (weight_IO,) = ctx.saved_tensors
        (gradient,) = grad_outputs
        return gradient @ weight_IO.to(gradient.dtype).T, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        """Of forward mode: the same product."""
        (weight_IO,) = ctx.saved_tensors
        product: Tensor = tangents[0] @ weight_IO.to(tangents[0].dtype)
        return product


class WideningLinear(nn.Linear):
    """A frozen `nn.Linear` in any floating dtype; outputs have the dtype of the inputs."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name in torch
        """Shape (..., O) from (..., I)."""
        product: Tensor = _WidenedProduct.apply(input, self.weight.T)  # type: ignore[no-untyped-call]
        return product if self.bias is None else product + self.bias.to(input.dtype)


def store_narrow_(module: nn.Module, dtype: torch.dtype) -> None:
    """Store the linear layers and embeddings of a frozen module in a narrow dtype; they go on computing in float32.

    Norms and biases, which are small, stay as they are.

    Args:
        module: changed in place; tensors that several layers share stay shared.
        dtype: floating, e.g. `torch.bfloat16`.
    """
    from transformers.pytorch_utils import Conv1D

    class WideningConv1D(Conv1D):
        """The same for GPT-2's transposed linear layer."""

        def forward(self, x: Tensor) -> Tensor:
            product: Tensor = _WidenedProduct.apply(x, self.weight)  # type: ignore[no-untyped-call]
            return product + self.bias.to(x.dtype)

    narrowed: dict[nn.Parameter, nn.Parameter] = {}

    def narrow(layer: nn.Module) -> None:
        weight = layer.weight
        assert isinstance(weight, nn.Parameter)
        if weight not in narrowed:
            narrowed[weight] = nn.Parameter(weight.detach().to(dtype), requires_grad=False)
        layer.weight = narrowed[weight]

    for layer in module.modules():
        if type(layer) in (nn.Linear, Conv1D) and not layer.weight.requires_grad:
            narrow(layer)
            layer.__class__ = WideningLinear if type(layer) is nn.Linear else WideningConv1D
        elif isinstance(layer, nn.Embedding) and not layer.weight.requires_grad:
            narrow(layer)
