"""The gradients of a layer group by formulas, with few activations: what a deep network's autograd keeps is not kept.

A group that begins with a linear map (a convolution or a fully connected layer), normalised or not, with or without a
ReLU and an average pooling, is

    c = W * x,   y = relu(norm(c)),   f = pool(y),   l = loss(rest(f), y_labels)

With delta = d l / d f, which is small where f is pooled, the formulas go down by slices of the batch, so that no
gradient is as large as the map:

    g   = unpool(delta) [y > 0]
    d c = gamma / s (g - mean g - n mean(g n)),  n = (c - m) / s       BatchNorm; means over all B examples
    d W = sum over slices of the correlation of d c with x

Kept are x, which belongs to the group below, c where it is normalised, and y, which is the next group's x. The rest
(the head, and layers on the pooled map) is one linear layer under cross-entropy with a formula of its own, or a small
graph.

`B` examples of a batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from heron.split.boundary import layers_of

_SLICES = 4
_AFTER_CHANNELS = (0, 2, 3)


@dataclass(frozen=True)
class LeanGroup:
    """A layer group taken apart; the parts are the client's own layers.

    Attributes:
        linear: the map with weights at the beginning.
        norm: normalisation of its outputs.
        has_relu: whether a ReLU comes next.
        pool: average pooling of the map.
        pools_in_head: whether that is the head's, so that the group puts out the map.
        layers: other layers of the group.
        head: the rest of the head.
    """

    linear: nn.Conv2d | nn.Linear
    norm: nn.BatchNorm2d | nn.GroupNorm | None
    has_relu: bool
    pool: nn.AvgPool2d | None
    pools_in_head: bool
    layers: nn.Sequential
    head: nn.Sequential

    @property
    def in_training(self) -> bool:
        """True unless BatchNorm was told to normalise by its running statistics, for which the formulas are not."""
        return not isinstance(self.norm, nn.BatchNorm2d) or self.norm.training


@dataclass
class Kept:
    """Activations that the formulas need, of one clean pass.

    Attributes:
        inputs: x, shape (B, ...).
        linear: c, shape (B, ...); None where it is not normalised.
        rectified: y, shape (B, ...); None without a ReLU.
        shape: shape of y.
    """

    inputs: Tensor
    linear: Tensor | None
    rectified: Tensor | None
    shape: torch.Size


def lean_group(layers: nn.Module, head: nn.Module) -> LeanGroup | None:
    """Take a layer group apart; None where it has another form."""
    rest, head_layers = layers_of(layers), layers_of(head)
    first, *rest = rest
    if not isinstance(first, nn.Conv2d | nn.Linear) or not _is_plain(first):
        return None
    norm = (
        rest[0] if rest and isinstance(first, nn.Conv2d) and type(rest[0]) in (nn.BatchNorm2d, nn.GroupNorm) else None
    )
    assert norm is None or isinstance(norm, nn.BatchNorm2d | nn.GroupNorm)
    rest = rest[1:] if norm is not None else rest
    has_relu = bool(rest) and type(rest[0]) is nn.ReLU
    rest = rest[1:] if has_relu else rest
    pools_in_head = not rest
    candidates = head_layers if pools_in_head else rest
    pool = candidates[0] if type(candidates[0]) is nn.AvgPool2d else None
    if pool is not None:
        candidates.pop(0)
    pools_in_head &= pool is not None
    return LeanGroup(first, norm, has_relu, pool, pools_in_head, nn.Sequential(*rest), nn.Sequential(*head_layers))


@torch.no_grad()
def lean_forward(group: LeanGroup, inputs: Tensor) -> tuple[Tensor, Tensor, Kept]:
    """Run the first layers of a group.

    Returns:
        y, the features f that the rest of the group and the head are given, and what the formulas need.
    """
    outputs: Tensor = group.linear(inputs)
    kept = Kept(inputs, None, None, outputs.shape)
    if group.norm is not None:
        kept.linear, outputs = outputs, group.norm(outputs)
    if group.has_relu:
        kept.rectified = outputs = outputs.relu_()
    return outputs, outputs if group.pool is None else group.pool(outputs), kept


@torch.no_grad()
def lean_backward(group: LeanGroup, kept: Kept, delta: Tensor) -> None:
    """Add the gradients of the first layers to their parameters.

    Args:
        group: the layer group.
        kept: of its clean pass.
        delta: gradient of the loss at f, shape (B, ...); not needed afterwards, and may be written over.
    """
    if isinstance(group.norm, nn.BatchNorm2d):
        slices = _through_batch_norm(group.norm, group, kept, delta)
    elif group.norm is not None:
        slices = _through_group_norm(group.norm, group, kept, delta)
    else:
        slices = _gradients(group, kept, delta)
    for part, gradient in slices:
        _add_linear(group.linear, kept.inputs[part], gradient)
        del gradient  # before the next slice's is made


def _gradients(group: LeanGroup, kept: Kept, delta: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield the gradient at norm(c), slice by slice."""
    size = -(-len(delta) // _SLICES)
    for start in range(0, len(delta), size):
        part = slice(start, start + size)
        gradient = _unpooled(group.pool, delta[part], kept.shape) if group.pool is not None else delta[part]
        if kept.rectified is not None:
            gradient.masked_fill_(kept.rectified[part] <= 0, 0.0)  # of a slice of delta, too
        yield part, gradient
        del gradient


def _unpooled(pool: nn.AvgPool2d, delta: Tensor, shape: torch.Size) -> Tensor:
    """Backward pass of an average pooling."""
    like = delta.new_empty(1).expand(len(delta), *shape[1:])
    window = _pair(pool.kernel_size), _pair(pool.stride), _pair(pool.padding)
    counting = pool.ceil_mode, pool.count_include_pad, pool.divisor_override
    gradient: Tensor = torch.ops.aten.avg_pool2d_backward(delta, like, *window, *counting)
    return gradient


def _through_batch_norm(
    norm: nn.BatchNorm2d, group: LeanGroup, kept: Kept, delta: Tensor
) -> Iterator[tuple[slice, Tensor]]:
    """Yield the gradient at c; a first turn over the slices sums what couples the examples."""
    assert kept.linear is not None  # normalised
    variance, mean = torch.var_mean(kept.linear, _AFTER_CHANNELS, correction=0, keepdim=True)
    inverse = torch.rsqrt(variance + norm.eps)
    total, product = torch.zeros_like(mean), torch.zeros_like(mean)
    for part, gradient in _gradients(group, kept, delta):
        total += gradient.sum(_AFTER_CHANNELS, keepdim=True)
        product += (kept.linear[part] - mean).mul_(gradient).sum(_AFTER_CHANNELS, keepdim=True)
        del gradient
    product *= inverse
    _add(norm.weight, product.flatten())
    _add(norm.bias, total.flatten())
    count = kept.linear.numel() // mean.numel()
    factor = inverse if norm.weight is None else inverse * norm.weight.view_as(mean)
    for part, gradient in _gradients(group, kept, delta):
        coupled = (kept.linear[part] - mean).mul_(inverse * product / count).add_(total / count)
        yield part, coupled.neg_().add_(gradient).mul_(factor)
        del coupled, gradient


def _through_group_norm(
    norm: nn.GroupNorm, group: LeanGroup, kept: Kept, delta: Tensor
) -> Iterator[tuple[slice, Tensor]]:
    """Yield the gradient at c; examples are independent, so a slice's small graph is enough."""
    assert kept.linear is not None  # normalised
    parameters = [tensor for tensor in (norm.weight, norm.bias) if tensor is not None and tensor.requires_grad]
    for part, gradient in _gradients(group, kept, delta):
        leaf = kept.linear[part].detach().requires_grad_()
        with torch.enable_grad():
            outputs = norm(leaf)
        at_linear, *own = torch.autograd.grad(outputs, [leaf, *parameters], gradient)
        del outputs, leaf, gradient
        for parameter, found in zip(parameters, own, strict=True):
            _add(parameter, found)
        yield part, at_linear
        del at_linear


def _add_linear(linear: nn.Conv2d | nn.Linear, inputs: Tensor, gradient: Tensor) -> None:
    """Add the gradients of weights and bias from the gradient at a linear map's outputs."""
    if isinstance(linear, nn.Linear):
        rows = gradient.flatten(0, -2)
        _add(linear.weight, rows.T @ inputs.flatten(0, -2))
        _add(linear.bias, rows.sum(0))
        return
    has_bias = linear.bias is not None
    assert not isinstance(linear.padding, str)  # `lean_group` has looked
    arrays = gradient.contiguous(), inputs, linear.weight, [linear.out_channels] if has_bias else None
    geometry = _pair(linear.stride), _pair(linear.padding), _pair(linear.dilation), False, [0, 0], linear.groups
    _, weight, bias = torch.ops.aten.convolution_backward(*arrays, *geometry, [False, True, has_bias])
    _add(linear.weight, weight)
    _add(linear.bias, bias)


def _add(parameter: Tensor | None, gradient: Tensor) -> None:
    if parameter is None or not parameter.requires_grad:
        return
    if parameter.grad is None:
        parameter.grad = gradient
    else:
        parameter.grad += gradient


def _pair(value: int | tuple[int, ...]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


def _is_plain(layer: nn.Conv2d | nn.Linear) -> bool:
    """Return whether a layer is a convolution with zeros around, or fully connected, and its weights learn."""
    if type(layer) is nn.Conv2d and (layer.padding_mode != "zeros" or isinstance(layer.padding, str)):
        return False
    # Pruning and the old spectral norm leave a plain tensor here, which a hook computes anew before every call.
    weight: object = layer.weight
    return type(layer) in (nn.Conv2d, nn.Linear) and isinstance(weight, nn.Parameter) and weight.requires_grad
