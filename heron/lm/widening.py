"""Linear layers that store their weights in 8 or 16 bits and compute in 32.

Probes measure differences that 16-bit activations would round away. So weights are widened on use, one layer at a time,
in the forward and in the backward pass, and no 32-bit copy outlives its layer. The libraries' own methods either keep
the copy in the graph (a parametrization) or compute in 16 bits (autocast).

`N` rows, `I` input features, `O` output features.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from heron.errors import SplitError
from heron.lm.layers import Unembedding
from heron.lm.rounding import rounded_to_int8

# Dtype of embeddings if matrices have 8 bits: lookups and scores have no product that could absorb a scale per row.
_EMBEDDINGS_BESIDE_INT8 = torch.bfloat16


def _widened(weight_IO: Tensor, scale_O: Tensor | None, dtype: torch.dtype) -> Tensor:
    wide_IO = weight_IO.to(dtype)
    # The scale multiplies the weight, not outputs and gradients, because a backward pass would have to copy those. So
    # nothing else is allocated, and products have the bits of those with the float32 weights of `store_wide_`.
    return wide_IO if scale_O is None else wide_IO.mul_(scale_O)


class _WidenedProduct(torch.autograd.Function):
    """Product `inputs @ (weight * scale)` with a frozen weight of another dtype and an optional scale per output."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight_IO: Tensor, scale_O: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight_IO, scale_O)
        ctx.save_for_forward(weight_IO, scale_O)
        return inputs @ _widened(weight_IO, scale_O, inputs.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        weight_IO, scale_O = ctx.saved_tensors
        (gradient,) = grad_outputs
        return gradient @ _widened(weight_IO, scale_O, gradient.dtype).T, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        """Product of the tangents with the same weight (forward mode)."""
        weight_IO, scale_O = ctx.saved_tensors
        product: Tensor = tangents[0] @ _widened(weight_IO, scale_O, tangents[0].dtype)
        return product


class WideningLinear(nn.Linear):
    """A frozen `nn.Linear` in any floating dtype or int8; its outputs have the dtype of its inputs.

    Attributes:
        scale: factors of the rows of an int8 weight, shape (O,), float32; None for a floating dtype.
    """

    scale: nn.Parameter | None

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name in torch
        """Outputs, shape (..., O), from inputs, shape (..., I)."""
        product: Tensor = _WidenedProduct.apply(input, self.weight.T, self.scale)  # type: ignore[no-untyped-call]
        return product if self.bias is None else product + self.bias.to(input.dtype)


def store_narrow_(module: nn.Module, dtype: torch.dtype) -> None:
    """Store a module's frozen linear layers, embeddings and unembedding in a narrow dtype; they compute in float32.

    Norms and biases are small and stay as they are. With int8, linear layers get a frozen parameter `scale`
    (`heron.lm.rounding`), and embeddings and the unembedding are stored in bfloat16.

    Args:
        module: changed in place; each layer's wide weight is freed before the next one is rounded. Tensors that
            several layers share remain shared.
        dtype: `torch.int8`, or a floating dtype, e.g. `torch.bfloat16`.

    Raises:
        SplitError: if a weight to be stored in int8 is not a matrix of finite numbers.
    """
    classes = _widening_classes()
    embeddings = _embeddings(module)
    scales: dict[Tensor, nn.Parameter | None] = {}
    for name, layer in module.named_modules():
        weight = _frozen_weight(layer, tuple(classes))
        if weight is None:
            continue
        if weight not in scales:
            if dtype == torch.int8 and weight not in embeddings:
                scales[weight] = _store_int8_(layer, name)
            else:
                weight.data = weight.data.to(_EMBEDDINGS_BESIDE_INT8 if dtype == torch.int8 else dtype)
                scales[weight] = None
        if type(layer) in classes:
            # Same attributes, another forward: libraries that look for linear layers still find them.
            layer.__class__ = classes[type(layer)]
            layer.register_parameter("scale", scales[weight])


def store_wide_(module: nn.Module) -> None:
    """Undo `store_narrow_` except for rounding errors: weights are float32 again, with scales multiplied in.

    Args:
        module: changed in place; tensors that several layers share remain shared.
    """
    plain = {wide: plain for plain, wide in _widening_classes().items()}
    done: set[Tensor] = set()
    for layer in module.modules():
        weight = _frozen_weight(layer, tuple(plain))
        if weight is None:
            continue
        if weight not in done:
            scale = getattr(layer, "scale", None) if type(layer) in plain else None
            weight_IO = weight.data.T if isinstance(layer, nn.Linear) else weight.data
            wide_IO = _widened(weight_IO, scale, torch.float32)
            weight.data = wide_IO.T if isinstance(layer, nn.Linear) else wide_IO
            done.add(weight)
        if type(layer) in plain:
            layer.__class__ = plain[type(layer)]
            del layer.scale


def _frozen_weight(layer: nn.Module, linear: tuple[type[nn.Module], ...]) -> nn.Parameter | None:
    """The weight of a layer that may be stored narrow: an embedding, or a linear layer of exactly these classes."""
    # A part of a model has no linear output layer: its unembedding may be the embedding's own tensor.
    if type(layer) not in linear and not isinstance(layer, nn.Embedding | Unembedding):
        return None
    weight = layer.weight
    return weight if isinstance(weight, nn.Parameter) and not weight.requires_grad else None


def _embeddings(module: nn.Module) -> set[Any]:
    """Weights of the embeddings and of the unembedding, which is a linear layer in a whole model."""
    found: set[Any] = {layer.weight for layer in module.modules() if isinstance(layer, nn.Embedding | Unembedding)}
    output: Any = getattr(module, "get_output_embeddings", lambda: None)()
    return found if output is None else found | {output.weight}


def _store_int8_(layer: nn.Module, name: str) -> nn.Parameter:
    """Round a linear layer's weight in place and return its scale."""
    weight: Any = layer.weight
    if weight.dim() != 2 or not weight.numel():
        raise SplitError(
            f"expected matrices for split.base=int8, found shape {tuple(weight.shape)} in {name!r}; use "
            f"split.base=bfloat16"
        )
    is_transposed = not isinstance(layer, nn.Linear)
    codes_OI, scale_O = rounded_to_int8(weight.data.T if is_transposed else weight.data)
    if not scale_O.is_meta and not bool(scale_O.isfinite().all()):
        raise SplitError(
            f"expected finite weights for split.base=int8, found NaN or infinity in {name!r}; use another model"
        )
    weight.data = (codes_OI.T if is_transposed else codes_OI).contiguous()
    return nn.Parameter(scale_O, requires_grad=False)


@cache
def _widening_classes() -> dict[type[nn.Module], type[nn.Module]]:
    """Linear layers, each with the class that computes the same with narrow weights."""
    from transformers.pytorch_utils import Conv1D

    class WideningConv1D(Conv1D):
        """GPT-2's linear layer, whose weight is transposed."""

        scale: nn.Parameter | None

        def forward(self, x: Tensor) -> Tensor:
            product: Tensor = _WidenedProduct.apply(x, self.weight, self.scale)  # type: ignore[no-untyped-call]
            return product + self.bias.to(x.dtype)

    return {nn.Linear: WideningLinear, Conv1D: WideningConv1D}
