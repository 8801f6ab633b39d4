"""ONNX for operations that torch's exporter does not know, or not well: BatchNorm, backward passes, attention.

Sizes other than the batch's are fixed in an export, so they are numbers here.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from onnxscript import opset20 as op

from heron.errors import BundleError
from heron.export.attention import attention


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return the translation of each operation."""
    aten = torch.ops.aten
    return {
        torch.ops.heron.batch_norm.default: _batch_norm,
        aten.convolution_backward.default: _convolution_backward,
        aten.avg_pool2d_backward.default: _avg_pool2d_backward,
        aten.scaled_dot_product_attention.default: attention,
    }


def _batch_norm(inputs: Any, weight: Any, bias: Any, eps: float) -> tuple[Any, Any, Any, Any]:
    """ONNX's operator in training mode; with a momentum of 0 its running statistics are those of the batch."""
    unused = op.Sub(weight, weight)
    outputs, mean, variance = op.BatchNormalization(
        inputs, weight, bias, unused, unused, epsilon=eps, momentum=0.0, training_mode=1
    )
    size = op.Div(op.Cast(op.Size(inputs), to=1), op.Cast(op.Size(weight), to=1))
    one = op.Constant(value_float=1.0)
    return outputs, mean, variance, op.Mul(variance, op.Div(size, op.Max(one, op.Sub(size, one))))


def _convolution_backward(
    gradient: Any,
    inputs: Any,
    weight: Any,
    bias_sizes: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    output_mask: Sequence[bool],
) -> tuple[Any, Any, Any]:
    """Compute a convolution's gradients.

    That of its inputs is a transposed convolution; that of its weight is a convolution of the inputs with the gradient,
    with channels and examples swapped, and so strides and dilations.
    """
    if groups != 1 or transposed:
        raise BundleError(
            f"expected plain convolutions above the order boundary, found one with groups={groups}, "
            f"transposed={str(transposed).lower()}; lower client.exact"
        )
    dims = range(len(inputs.shape) - 2)
    sizes, kernel = ([int(size) for size in each.shape[2:]] for each in (inputs, weight))
    rest = [(sizes[d] + 2 * padding[d] - dilation[d] * (kernel[d] - 1) - 1) % stride[d] for d in dims]
    pads = [*padding, *padding]
    of_inputs = op.ConvTranspose(
        gradient, weight, strides=list(stride), pads=pads, dilations=list(dilation), output_padding=rest
    )
    swap = [1, 0, *(d + 2 for d in dims)]
    of_weight = op.Conv(
        op.Transpose(inputs, perm=swap),
        op.Transpose(gradient, perm=swap),
        strides=list(dilation),
        dilations=list(stride),
        pads=pads,
    )
    axes = op.Constant(value_ints=[d + 2 for d in dims])
    # Rows that no stride reached come out as further weights.
    of_weight = op.Slice(
        op.Transpose(of_weight, perm=swap),
        op.Constant(value_ints=[0 for _ in dims]),
        op.Constant(value_ints=kernel),
        axes,
    )
    of_bias = op.ReduceSum(gradient, op.Constant(value_ints=[0, *(d + 2 for d in dims)]), keepdims=0)
    return of_inputs, of_weight, of_bias


def _avg_pool2d_backward(
    gradient: Any,
    inputs: Any,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """Gradient of average pooling by windows side by side: each value, shared out over its window."""
    side_by_side = list(stride) in ([], list(kernel_size)) and not any(padding) and not ceil_mode
    if not side_by_side or divisor_override is not None:
        raise BundleError(
            "expected average pooling by windows side by side above the order boundary, found strides, padding, "
            "ceil_mode or divisor_override; lower client.exact"
        )
    height, width = kernel_size
    scales = op.Constant(value_floats=[1.0, 1.0, float(height), float(width)])
    spread = op.Resize(
        gradient, None, scales, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
    )
    spread = op.Mul(spread, op.Constant(value_float=1.0 / (height * width)))
    below, right = (int(inputs.shape[d + 2]) - int(gradient.shape[d + 2]) * kernel_size[d] for d in range(2))
    if not below and not right:
        return spread
    return op.Pad(spread, op.Constant(value_ints=[0, 0, 0, 0, 0, 0, below, right]))
