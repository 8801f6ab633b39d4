"""The gradient of a linear layer under cross-entropy, without autograd.

For logits a = x W^T + b and the mean cross-entropy over the N of B examples whose label counts, with p = softmax(a) and
one-hot labels e, and for these examples alone:

    d l / d a = (p - e) / N,   d l / d W = (d l / d a)^T x,   d l / d b = sum_B d l / d a,   d l / d x = (d l / d a) W

The C entries of a row of d l / d a sum to zero, so that one class can be left out of the products: its row of d l / d W
is minus the sum of the others, and d l / d x is the other entries times the differences of the rows of W to its own.

`B` examples, `D` features, `C` classes.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear, one_hot

from heron.data import IGNORED
from heron.split.criterion import MeanLoss, scaled

_LOSS = MeanLoss(cross_entropy)
_EXAMPLE_VALUES = 1024


def has_closed_form(module: nn.Module, criterion: Callable[[Tensor, Tensor], Tensor]) -> bool:
    """Return whether `linear_cross_entropy` is the loss of the module and the criterion for labels that are classes."""
    layers = list(module) if isinstance(module, nn.Sequential) else [module]
    if criterion is not cross_entropy or len(layers) != 1 or type(layers[0]) is not nn.Linear:
        return False
    # The old spectral norm and pruning leave a plain tensor here, which a hook computes anew before every call.
    return isinstance(layers[0].weight, nn.Parameter)


@torch.no_grad()
def linear_cross_entropy(
    layer: nn.Linear, features_BD: Tensor, labels_B: Tensor, share: float | Tensor, *, leaves_one_out: bool = False
) -> tuple[Tensor, Callable[[], Tensor]]:
    """Loss of a linear layer, and its backward pass for later.

    Args:
        layer: maps D features to C logits.
        features_BD: its inputs.
        labels_B: class of every example, in [0, C), or `IGNORED`.
        share: factor on the mean loss, e.g. a micro-batch's share of its batch.
        leaves_one_out: whether the backward pass leaves the last class out of its products: a C-th less to compute, and
            another rounding.

    Returns:
        `share` times the mean cross-entropy, shape (), and a function that adds the gradients to `layer.weight.grad`
        and `layer.bias.grad` and returns the gradient of the features, shape (B, D). It is called once: the features
        are not held afterwards.
    """
    logits_BC = linear(features_BD, layer.weight, layer.bias)
    loss = scaled(_LOSS(logits_BC, labels_B), share)
    delta_BC = torch.softmax(logits_BC, dim=1)
    if _LOSS.all_count(labels_B):
        delta_BC.sub_(one_hot(labels_B.long(), logits_BC.shape[1])).mul_(share / len(labels_B))
    else:
        ignored_B = labels_B == IGNORED
        delta_BC.sub_(one_hot(labels_B.long().masked_fill(ignored_B, 0), logits_BC.shape[1]))
        delta_BC.mul_(share / (~ignored_B).sum(dtype=torch.float64)).masked_fill_(ignored_B[:, None], 0.0)

    held = [features_BD]

    @torch.no_grad()
    def backward() -> Tensor:
        if layer.bias is not None:
            _accumulate(layer.bias, delta_BC.sum(dim=0))
        if not leaves_one_out:
            _accumulate(layer.weight, delta_BC.T @ held.pop())
            return delta_BC @ layer.weight
        others_BC = delta_BC[:, :-1]
        gradient_CD = others_BC.T @ held.pop()
        _accumulate(layer.weight, torch.cat([gradient_CD, -gradient_CD.sum(dim=0, keepdim=True)]))
        del gradient_CD
        return others_BC @ (layer.weight[:-1] - layer.weight[-1])

    return loss, backward


@torch.no_grad()
def linear_example_gradients(layer: nn.Linear, features_BD: Tensor, labels_B: Tensor) -> Iterator[Tensor]:
    """Yield the gradients of single examples, a few at a time: no more values than a row has, or some thousand.

    Args:
        layer: maps D features to C logits.
        features_BD: its inputs.
        labels_B: class of every example, in [0, C), or `IGNORED`, whose gradient is zero.

    Yields:
        Gradients of the trained parameters, weight before bias, shape (b, C D + C).
    """
    delta_BC = torch.softmax(linear(features_BD, layer.weight, layer.bias), dim=1)
    ignored_B = labels_B == IGNORED
    delta_BC.sub_(one_hot(labels_B.long().masked_fill(ignored_B, 0), delta_BC.shape[1]))
    delta_BC.masked_fill_(ignored_B[:, None], 0.0)
    number = max(1, _EXAMPLE_VALUES // layer.weight.numel())
    for delta_bC, features_bD in zip(torch.split(delta_BC, number), torch.split(features_BD, number), strict=True):
        parts = [(delta_bC[:, :, None] * features_bD[:, None, :]).flatten(1)] if layer.weight.requires_grad else []
        parts += [delta_bC] if layer.bias is not None and layer.bias.requires_grad else []
        yield torch.cat(parts, 1)


def _accumulate(parameter: Tensor, gradient: Tensor) -> None:
    if parameter.requires_grad:
        parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
