"""Linear layers that are stored in 16 bits and compute in 32.

Probes measure differences that 16-bit activations would round away, so weights are widened as they are used, one layer
at a time, in the forward and in the backward pass: no 32-bit copy of the weights outlives its layer. The ways of the
libraries keep the copy in the graph (a parametrization) or compute in 16 bits (autocast).

`N` rows, `I` features in, `O` out.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from heron.lm.layers import Unembedding


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
    """Store a module's frozen linear layers, embeddings and unembedding in a narrow dtype; they compute in float32.

    Norms and biases, which are small, stay as they are.

    Args:
        module: changed in place; tensors that several layers share stay shared.
        dtype: floating, e.g. `torch.bfloat16`.
    """
    _convert_(module, _widening_classes(), dtype)


def store_wide_(module: nn.Module) -> None:
    """Undo `store_narrow_`, but for what rounding has lost.

    Args:
        module: changed in place.
    """
    _convert_(module, {wide: plain for plain, wide in _widening_classes().items()}, torch.float32)


def _convert_(module: nn.Module, classes: Mapping[type[nn.Module], type[nn.Module]], dtype: torch.dtype) -> None:
    converted: dict[nn.Parameter, nn.Parameter] = {}
    for layer in module.modules():
        # A part of a model has no linear output layer: its unembedding may be the embedding's own tensor.
        weight = layer.weight if type(layer) in classes or isinstance(layer, nn.Embedding | Unembedding) else None
        if not isinstance(weight, nn.Parameter) or weight.requires_grad:
            continue
        converted.setdefault(weight, nn.Parameter(weight.detach().to(dtype), requires_grad=False))
        layer.weight = converted[weight]
        # Same attributes, another forward: libraries that look for linear layers go on finding them.
        layer.__class__ = classes.get(type(layer), type(layer))


@cache
def _widening_classes() -> dict[type[nn.Module], type[nn.Module]]:
    """Linear layers, and what computes the same with narrow weights."""
    from transformers.pytorch_utils import Conv1D

    class WideningConv1D(Conv1D):
        """GPT-2's linear layer, whose weight is transposed."""

        def forward(self, x: Tensor) -> Tensor:
            product: Tensor = _WidenedProduct.apply(x, self.weight)  # type: ignore[no-untyped-call]
            return product + self.bias.to(x.dtype)

    return {nn.Linear: WideningLinear, Conv1D: WideningConv1D}
