"""BatchNorm with the statistics of its batch, as one operation that an export can translate.

An export of `nn.BatchNorm2d` in training mode comes out with frozen running statistics, without a word. The operation
here normalises by the batch alone and returns its statistics, from which the client moves the running ones.

`N` values of a channel in the batch, `C` channels.
"""

from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

Seen = dict[str, tuple[Tensor, Tensor]]
"""Mean and unbiased variance of the latest batch, shape (C,) each, by layer."""


@torch.library.custom_op("heron::batch_norm", mutates_args=())
def batch_norm(inputs: Tensor, weight_C: Tensor, bias_C: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Normalise by the batch.

    Returns:
        Outputs, and of the batch: mean, variance, and unbiased variance (the factor N / (N - 1)), shape (C,) each.
    """
    outputs, mean_C, _ = torch.ops.aten._native_batch_norm_legit.no_stats(inputs, weight_C, bias_C, True, 0.1, eps)
    dims = _other_dims(inputs)
    variance_C = inputs.var(dim=dims, unbiased=False)
    size = inputs.numel() // inputs.shape[1]
    return outputs, mean_C, variance_C, variance_C * (size / max(1, size - 1))


@batch_norm.register_fake
def _shapes(
    inputs: Tensor,
    weight_C: Tensor,
    bias_C: Tensor,
    eps: float,  # noqa: ARG001 - the operation's signature
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return torch.empty_like(inputs), torch.empty_like(weight_C), torch.empty_like(weight_C), torch.empty_like(bias_C)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.eps = inputs[3]
    ctx.save_for_backward(inputs[0], inputs[1], output[1], output[2])


def _backward(ctx: Any, gradient: Tensor, *_: Tensor | None) -> tuple[Tensor, Tensor, Tensor, None]:
    """Gradients with respect to inputs, weight and bias; the statistics have none."""
    inputs, weight_C, mean_C, variance_C = ctx.saved_tensors
    dims, shape = _other_dims(inputs), [1, -1] + [1] * (inputs.dim() - 2)
    inverse = torch.rsqrt(variance_C + ctx.eps).reshape(shape)
    normalised = (inputs - mean_C.reshape(shape)) * inverse
    of_bias_C = gradient.sum(dims)
    of_weight_C = (gradient * normalised).sum(dims)
    size = inputs.numel() // inputs.shape[1]
    centred = gradient - (of_bias_C / size).reshape(shape) - normalised * (of_weight_C / size).reshape(shape)
    return weight_C.reshape(shape) * inverse * centred, of_weight_C, of_bias_C, None


torch.library.register_autograd("heron::batch_norm", _backward, setup_context=_keep)


class BatchStatisticsNorm(nn.Module):
    """A BatchNorm layer in training mode that notes the statistics of its batch in place of moving its own.

    Args:
        layer: what it stands for; shares its parameters.
        name: name of the layer.
        seen: takes the statistics.
    """

    def __init__(self, layer: nn.modules.batchnorm._BatchNorm, name: str, seen: Seen) -> None:
        super().__init__()
        size = layer.num_features
        self.weight = layer.weight if layer.affine else nn.Parameter(torch.ones(size), requires_grad=False)
        self.bias = layer.bias if layer.affine else nn.Parameter(torch.zeros(size), requires_grad=False)
        self._eps = layer.eps
        self._seen, self._name = seen, name

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise by the batch."""
        outputs, mean_C, _, unbiased_C = batch_norm(inputs, self.weight, self.bias, self._eps)
        self._seen[self._name] = (mean_C, unbiased_C)
        normalised: Tensor = outputs
        return normalised


def is_batch_norm(layer: nn.Module) -> TypeGuard[nn.modules.batchnorm._BatchNorm]:
    """Return whether a layer is a BatchNorm, of any number of dimensions."""
    return isinstance(layer, nn.modules.batchnorm._BatchNorm)


def _other_dims(inputs: Tensor) -> list[int]:
    return [dim for dim in range(inputs.dim()) if dim != 1]
