"""Comparison of a cut network with the uncut one: both must compute the same."""

import torch
from torch import Tensor, nn

from heron.errors import SplitError
from heron.split.untouched import attempt, untouched


def check_equivalence(model: nn.Module, split: nn.Module, example: Tensor, *, tolerance: float = 0.0) -> float:
    """Compare the uncut and the cut network in evaluation mode; neither is changed.

    Args:
        model: the uncut network.
        split: the cut one, f_s(f_c(x)).
        example: inputs, shape (B, ...).
        tolerance: largest absolute difference allowed, >= 0; a cut changes no operation, so 0 is right.

    Returns:
        The largest absolute difference over all outputs.

    Raises:
        SplitError: if one of them does not run, shapes differ, or the difference is above the tolerance or NaN.
    """
    expected = _evaluate("uncut network", model, example)
    found = _evaluate("cut network", split, example)
    if expected.shape != found.shape:
        raise SplitError(
            f"expected the cut network to return shape {tuple(expected.shape)} like the uncut one, found "
            f"{tuple(found.shape)}; cut elsewhere or write the parts as modules and use SplitModel"
        )
    difference = _largest_difference(expected, found)
    if not difference <= tolerance:
        raise SplitError(
            f"expected the cut network to compute what the uncut one does within {tolerance:g}, found a largest "
            f"difference of {difference:g}; cut elsewhere or write the parts as modules and use SplitModel"
        )
    return difference


def _evaluate(what: str, module: nn.Module, example: Tensor) -> Tensor:
    # A clone, because a network may change its input in place; one seed, because it may draw in evaluation mode, too.
    with untouched(module, example.device, seed=1):
        return attempt(what, module.eval(), example.clone())


def _largest_difference(first: Tensor, second: Tensor) -> float:
    if first.numel() == 0:
        return 0.0
    # Equal infinities differ by 0, not by NaN.
    wide = torch.complex128 if first.is_complex() or second.is_complex() else torch.float64
    differences = (first.to(wide) - second.to(wide)).abs()
    return float(torch.where(first == second, torch.zeros_like(differences), differences).max())
